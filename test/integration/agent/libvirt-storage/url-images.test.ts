import { createHash } from "node:crypto";
import { readFile, stat, truncate, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { InstanceStorage, StorageOptions } from "../../../../agent/drivers/libvirt/storage/instance-storage.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { agentKeyPair, temporaryCa } from "../../../support/certificates.ts";
import { ImageServer } from "../../../support/image-server.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { planFor, qemuImage, qemuImageInfo, StorageHost } from "../../../support/storage-host.ts";
import { until } from "../../../support/until.ts";

const MIB = 2 ** 20;
const ETAG = { etag: '"v1"' };

const ignored = () => undefined;

function refused(reason: string, code = "FAILED_PRECONDITION") {
  return expect.objectContaining({ code, reason });
}

const seed = seedOfRun();

describeWithPeers(`images by URL (SEED=${seed})`, ["libvirt", "tiny-guest"], () => {
  let host: StorageHost;
  let server: ImageServer;
  let image: Buffer;
  let storage: InstanceStorage;
  const signal = AbortSignal.timeout(60_000);
  let instances = 0;

  beforeAll(async () => {
    host = await StorageHost.start();
    const random = seededRandom(seed);
    const disk = Buffer.alloc(3 * MIB);
    for (let at = 0; at < disk.length; at += 4) disk.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
    await writeFile(join(host.daemon.directory, "disk.raw"), disk);
    await qemuImage(host.daemon.directory, "convert", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2");
    image = await readFile(join(host.daemon.directory, "disk.qcow2"));
  });

  afterAll(() => host[Symbol.asyncDispose]());

  beforeEach(async () => {
    server = await ImageServer.start();
    storage = allowing();
    await storage.ensurePools(signal);
  });

  afterEach(async () => {
    await server.stop();
  });

  function allowing(options: Partial<StorageOptions> = {}): InstanceStorage {
    return host.storage({ imageUrlPrefixes: [`${server.url}/`], ...options });
  }

  /** Prepares a new instance of a URL; gives what its disk stands on. */
  async function prepare(
    url: string,
    how: { storage?: InstanceStorage; signal?: AbortSignal; onActivity?: (activity: string) => void } = {},
  ) {
    instances += 1;
    const plan = planFor(`inst-url${instances}`, { image: url });
    const { disks } = await (how.storage ?? storage).prepare(plan, how.onActivity ?? ignored, how.signal ?? signal);
    return (await qemuImageInfo(disks[0]?.path ?? ""))["backing-filename"] ?? "";
  }

  async function urlFiles(): Promise<string[]> {
    return (await host.imageFiles()).filter((name) => name.startsWith("url-"));
  }

  it("are fetched, checked, stored whole, and noted", async () => {
    server.serve("/disk.img", image);
    const path = await prepare(`${server.url}/disk.img?token=secret#fragment`);
    expect((await readFile(path)).equals(image)).toBe(true);
    const digest = (algorithm: string) => createHash(algorithm).update(image).digest("hex");
    const record = path.replace(/-[0-9a-f]{8}\.img$/, ".json");
    expect(JSON.parse(await readFile(record, "utf8"))).toEqual({
      reference: `${server.url}/disk.img?token=secret`,
      volume: path.slice(path.lastIndexOf("/") + 1),
      size: image.length,
      sha256: digest("sha256"),
      format: "qcow2",
      virtualSize: 3 * MIB,
      fetchedAt: expect.any(String),
      served: { sha256: digest("sha256"), sha512: digest("sha512") },
      validator: null,
      source: null,
      sequence: 0,
    });
  });

  it("are known by their content, whatever their URL says", async () => {
    const raw = await readFile(join(host.daemon.directory, "disk.raw"));
    raw.write("\x55\xaa", 510, "latin1");
    const path = await prepare(server.serve("/disk.qcow2", raw));
    expect((await readFile(path)).equals(raw)).toBe(true);
    expect(await qemuImageInfo(join(host.instances, `inst-url${instances}.root.qcow2`))).toMatchObject({
      "backing-filename-format": "raw",
    });
  });

  it("may be smaller than what is looked at", async () => {
    const raw = Buffer.alloc(1024);
    raw.write("\x55\xaa", 510, "latin1");
    expect((await readFile(await prepare(server.serve("/small", raw)))).equals(raw)).toBe(true);
  });

  describe("fetched once", () => {
    it("by many instances at a time, and by those that come later, also after a restart of the agent", async () => {
      const url = server.serve("/disk", image, { chunkDelayMs: 1 });
      const paths = new Set(await Promise.all(Array.from({ length: 5 }, () => prepare(url))));
      paths.add(await prepare(url));
      const restarted = allowing();
      await restarted.ensurePools(signal);
      paths.add(await prepare(url, { storage: restarted }));
      expect(paths.size).toBe(1);
      expect(server.requests).toHaveLength(1);
    });

    it("again where all records were cut off; the image that instances stand on stays", async () => {
      const own = Buffer.from(image);
      own.fill(1, own.length - 1000);
      const url = server.serve("/own", own);
      const before = await urlFiles();
      const first = await prepare(url);
      const added = (await urlFiles()).filter((name) => name.endsWith(".json") && !before.includes(name));
      expect(added).toHaveLength(2);
      for (const name of added) await truncate(join(host.images, name), 20);
      const second = await prepare(url, { storage: allowing() });
      expect(second).not.toBe(first);
      expect((await readFile(first)).equals(own)).toBe(true);
      expect(server.requests).toHaveLength(2);
      // When no instance stands on it any more, it goes.
      await storage.remove(`inst-url${instances - 1}`, signal);
      await allowing().ensurePools(signal);
      expect(await urlFiles()).not.toContain(first.slice(first.lastIndexOf("/") + 1));
    });

    it("again where a URL's record was cut off, and then found to be here already", async () => {
      const url = server.serve("/disk", image);
      const first = await prepare(url);
      const name = `url-${createHash("sha256").update(url).digest("hex").slice(0, 32)}.json`;
      await truncate(join(host.images, name), 20);
      expect(await prepare(url, { storage: allowing() })).toBe(first);
      expect(server.requests).toHaveLength(2);
    });

    it("again where the image was cut off", async () => {
      const url = server.serve("/disk", image);
      await truncate(await prepare(url), 100_000);
      expect((await readFile(await prepare(url))).equals(image)).toBe(true);
    });
  });

  describe("of which a transfer breaks", () => {
    it("go on where it broke", async () => {
      const url = server.serve("/disk", image, { breakAfterBytes: MIB, breaks: 2, headers: ETAG });
      expect((await readFile(await prepare(url))).equals(image)).toBe(true);
      const [first, ...others] = server.requests;
      expect(first?.range).toBeNull();
      expect(others).toHaveLength(2);
      for (const { range } of others) expect(range).toMatch(/^bytes=[1-9]\d*-$/);
    });

    it("go on by date, where the server has no tags", async () => {
      const url = server.serve("/disk", image, {
        breakAfterBytes: MIB,
        breaks: 1,
        headers: { "last-modified": "Sat, 21 Nov 2026 10:00:00 GMT" },
      });
      expect((await readFile(await prepare(url))).equals(image)).toBe(true);
      expect(server.requests.map(({ range }) => range === null)).toEqual([true, false]);
    });

    it("begin again where the server cannot say that the file is the same", async () => {
      const weak = server.serve("/weak", image, { breakAfterBytes: MIB, breaks: 1, headers: { etag: 'W/"v1"' } });
      expect((await readFile(await prepare(weak))).equals(image)).toBe(true);
      expect(server.requestsFor("/weak").map(({ range }) => range)).toEqual([null, null]);
      const whole = server.serve("/whole", image, { breakAfterBytes: MIB, breaks: 1, headers: ETAG, ranges: false });
      expect((await readFile(await prepare(whole))).equals(image)).toBe(true);
      expect(server.requestsFor("/whole").map(({ sentBytes }) => sentBytes)).toEqual([MIB, image.length]);
    });

    it("wait for a server that has trouble for a moment, and not for one that stays so", async () => {
      const url = server.serve("/disk", image, { status: 503 });
      const prepared = prepare(url, { storage: allowing({ fetch: { maxAttempts: 1000 } }) });
      await until(() => server.requests.length >= 3);
      server.serve("/disk", image);
      expect((await readFile(await prepared)).equals(image)).toBe(true);

      const broken = server.serve("/broken", image, { breakAfterBytes: 100_000, headers: ETAG, ranges: false });
      await expect(prepare(broken)).rejects.toEqual(refused("ImageFetchFailed"));
      expect(server.requestsFor("/broken")).toHaveLength(5);
    });
  });

  describe("that cannot be used are refused, and nothing of them is kept:", () => {
    const fails = async (url: string, reason: string, options: Partial<StorageOptions> = {}) => {
      const before = await urlFiles();
      await expect(prepare(url, { storage: allowing(options) })).rejects.toEqual(refused(reason));
      expect(await urlFiles()).toEqual(before);
      expect((await host.instanceFiles()).filter((name) => name.startsWith(`inst-url${instances}.`))).toEqual([]);
    };

    it("one that is not there", () => fails(`${server.url}/none`, "ImageNotFound"));

    it("one that may not be read", () => fails(server.serve("/secret", image, { status: 403 }), "ImageAccessDenied"));

    it("one of a server that is not there", async () => {
      const url = server.serve("/disk", image);
      await server.stop();
      await fails(url, "ImageFetchFailed");
      server = await ImageServer.start();
    });

    it("one of a server whose certificate nobody trusts, at the first attempt", async () => {
      const { ca, remove } = await temporaryCa();
      const secure = await ImageServer.start({ tls: await agentKeyPair(ca, "agent-1") });
      try {
        const url = secure.serve("/disk", image);
        const patient = { fetch: { maxAttempts: 1_000_000 }, imageUrlPrefixes: [`${secure.url}/`] };
        await fails(url, "ImageFetchFailed", patient);
        expect(secure.requests).toEqual([]);
      } finally {
        await secure.stop();
        await remove();
      }
    });

    it("one that is no image", () => fails(server.serve("/page", "<!DOCTYPE html>".padEnd(200_000)), "ImageFormatUnknown"));

    it("one that is empty", () => fails(server.serve("/empty", ""), "ImageMalformed"));

    it("one with a backing file, before it is on the host's disk", async () => {
      const backed = Buffer.from(image);
      backed.writeBigUInt64BE(0x200n, 8);
      backed.writeUInt32BE(11, 16);
      backed.write("/etc/shadow", 0x200);
      await fails(server.serve("/backed", backed), "ImageHasBackingFile");
    });

    it("one that was cut off at its source", () => fails(server.serve("/cut", image.subarray(0, 70_000)), "ImageMalformed"));

    it("one that is larger than allowed", () => fails(server.serve("/large", image), "ImageTooLarge", { fetch: { maxBytes: MIB } }));

    it("one that is compressed on the way", () =>
      fails(server.serve("/zipped", image, { headers: { "content-encoding": "gzip" } }), "ImageFetchFailed"));
  });

  describe("of a server that does not do as it should:", () => {
    type Answer = (request: IncomingMessage, response: ServerResponse) => void;

    /** Answers the first request by the first answer, and so on; the last one is for all that follow. */
    async function misbehaving(...answers: Answer[]): Promise<{ url: string; requests: IncomingMessage[] } & AsyncDisposable> {
      const requests: IncomingMessage[] = [];
      const http: Server = createServer((request, response) => {
        requests.push(request);
        (answers[requests.length - 1] ?? answers.at(-1))?.(request, response);
      });
      http.listen(0, "127.0.0.1");
      await new Promise((resolve) => http.once("listening", resolve));
      const dispose = async () => {
        http.closeAllConnections();
        await new Promise((resolve) => http.close(resolve));
      };
      return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`, requests, [Symbol.asyncDispose]: dispose };
    }

    const half: Answer = (_request, response) => {
      response.writeHead(200, { "content-length": image.length, ...ETAG });
      response.write(image.subarray(0, MIB), () => response.destroy());
    };
    const whole: Answer = (_request, response) => response.writeHead(200, { "content-length": image.length }).end(image);
    const rest =
      (headers: (from: number) => Record<string, string>): Answer =>
      (request, response) => {
        const from = Number(/\d+/.exec(request.headers.range ?? "")?.[0]);
        response.writeHead(206, headers(from)).end(Buffer.alloc(image.length - from, 1));
      };
    const range = (from: number, size = image.length) => `bytes ${from}-${size - 1}/${size}`;

    it.each<[string, Answer]>([
      ["another file's rest, by its tag", rest((from) => ({ "content-range": range(from), etag: '"v2"' }))],
      ["another file's rest, by its size", rest((from) => ({ "content-range": range(from, image.length + 1) }))],
      ["a rest from elsewhere", rest(() => ({ "content-range": range(7) }))],
      ["a rest that does not say from where", rest(() => ({}))],
      ["that there is no rest", (_request, response) => response.writeHead(416).end()],
    ])("%s is not put behind the first part", async (_what, answer) => {
      await using bad = await misbehaving(half, answer, whole);
      const path = await prepare(bad.url, { storage: host.storage({ imageUrlPrefixes: [bad.url] }) });
      expect((await readFile(path)).equals(image)).toBe(true);
      expect(bad.requests.map(({ headers }) => headers.range === undefined)).toEqual([true, false, true]);
      expect(bad.requests[1]?.headers).toMatchObject({ "if-range": '"v1"' });
    });

    it("a file that changed is fetched from its beginning", async () => {
      const changed = Buffer.from(image);
      changed.fill(7, MIB);
      await using bad = await misbehaving(half, (_request, response) => response.writeHead(200, { etag: '"v2"' }).end(changed));
      const path = await prepare(bad.url, { storage: host.storage({ imageUrlPrefixes: [bad.url] }) });
      expect((await readFile(path)).equals(changed)).toBe(true);
    });

    it("one that stops sending is left, and asked again", async () => {
      const stalling: Answer = (_request, response) => {
        response.writeHead(200, { "content-length": image.length, ...ETAG });
        response.write(image.subarray(0, MIB));
      };
      await using bad = await misbehaving(
        stalling,
        rest((from) => ({ "content-range": range(from) })),
      );
      const path = await prepare(bad.url, { storage: host.storage({ imageUrlPrefixes: [bad.url], fetch: { idleTimeoutMs: 100 } }) });
      expect((await readFile(path)).length).toBe(image.length);
    });

    it("one that never comes to an end is left after a time", async () => {
      const dripping: Answer = (_request, response) => {
        response.writeHead(200, { "content-length": image.length, ...ETAG });
        response.write(image.subarray(0, 70_000));
      };
      await using bad = await misbehaving(dripping);
      const never = host.storage({ imageUrlPrefixes: [bad.url], fetch: { totalTimeoutMs: 300 } });
      await expect(prepare(bad.url, { storage: never })).rejects.toEqual(refused("ImageFetchFailed"));
    });

    it("one that sends without an end is left at what is allowed", async () => {
      const endless: Answer = (_request, response) => {
        response.writeHead(200);
        const write = () => {
          while (!response.destroyed && response.write(image));
          response.once("drain", write);
        };
        write();
      };
      await using bad = await misbehaving(endless);
      const bounded = host.storage({ imageUrlPrefixes: [bad.url], fetch: { maxBytes: 20 * MIB } });
      await expect(prepare(bad.url, { storage: bounded })).rejects.toEqual(refused("ImageTooLarge"));
    });

    it("one that says more than the host has room for is not begun", async () => {
      const huge: Answer = (_request, response) => {
        response.writeHead(200, { "content-length": 2 ** 50 });
        response.write(image.subarray(0, 70_000));
      };
      await using bad = await misbehaving(huge);
      const unbounded = host.storage({ imageUrlPrefixes: [bad.url], fetch: { maxBytes: 2 ** 52 } });
      await expect(prepare(bad.url, { storage: unbounded })).rejects.toEqual(refused("InsufficientDisk"));
    });

    it("redirects are followed within what is allowed, and not without an end", async () => {
      const to =
        (location: string): Answer =>
        (_request, response) =>
          response.writeHead(302, { location }).end("elsewhere");
      await using good = await misbehaving(to("/there"), to("there2"), whole);
      const path = await prepare(good.url, { storage: host.storage({ imageUrlPrefixes: [good.url] }) });
      expect((await readFile(path)).equals(image)).toBe(true);
      expect(good.requests.map(({ url }) => url)).toEqual(["/", "/there", "/there2"]);

      await using circle = await misbehaving(to("/"));
      await expect(prepare(circle.url, { storage: host.storage({ imageUrlPrefixes: [circle.url] }) })).rejects.toEqual(
        refused("ImageFetchFailed"),
      );
      expect(circle.requests).toHaveLength(6);

      await using out = await misbehaving(to(good.url));
      await expect(prepare(out.url, { storage: host.storage({ imageUrlPrefixes: [out.url] }) })).rejects.toEqual(
        refused("ImageUrlNotAllowed"),
      );
      expect(good.requests).toHaveLength(3);
    });
  });

  it.each(["127.0.0.1", "localhost", "[::1]", "127.1"])(
    "are not fetched from the host itself by the name of %s, unless its configuration says so",
    async (name) => {
      server.serve("/disk", image);
      const url = `${server.url.replace("127.0.0.1", name)}/disk`;
      await expect(prepare(url, { storage: host.storage() })).rejects.toEqual(refused("ImageUrlNotAllowed"));
      expect(server.requests).toEqual([]);
    },
  );

  it("tell how far they are, in order and never beyond the end", async () => {
    const said: string[] = [];
    await prepare(server.serve("/disk", image, { chunkDelayMs: 10 }), { onActivity: (activity) => said.push(activity) });
    expect(said[0]).toBe("fetching the image");
    expect(said.at(-1)).toBe("checking the image");
    const percent = said.slice(1, -1).map((activity) => Number(/^fetching the image: (\d+) %$/.exec(activity)?.[1]));
    expect(percent.length).toBeGreaterThan(0);
    expect(percent).toEqual(percent.toSorted((a, b) => a - b));
    expect(percent.at(-1)).toBeLessThanOrEqual(100);
  });

  describe("whose instance is given up", () => {
    it("are given up too, with nothing left behind, when nobody else waits", async () => {
      const before = await urlFiles();
      const url = server.serve("/disk", image, { chunkDelayMs: 50 });
      const [first, second] = [new AbortController(), new AbortController()];
      const waiting = [first, second].map((controller) => prepare(url, { signal: controller.signal }));
      const ends = Promise.all(waiting.map((one) => expect(one).rejects.toMatchObject({ code: "CANCELLED" })));
      await until(async () => (await urlFiles()).length > before.length, "the volume that is written to");
      first.abort(new FleetError("CANCELLED", "The instance is deleted."));
      await expect(waiting[0]).rejects.toMatchObject({ message: "The instance is deleted." });
      const sent = server.requests[0]?.sentBytes ?? 0;
      await until(() => (server.requests[0]?.sentBytes ?? 0) > sent, "more bytes for the second");
      second.abort(new FleetError("CANCELLED", "The instance is deleted."));
      await ends;
      await until(async () => (await urlFiles()).length === before.length, "the end of what was fetched");
      server.serve("/disk", image);
      expect((await readFile(await prepare(url))).equals(image)).toBe(true);
      expect(server.requests).toHaveLength(2);
    });

    it("are fetched for one who comes while they are given up", async () => {
      const url = server.serve("/disk", image, { chunkDelayMs: 200 });
      const controller = new AbortController();
      const given = prepare(url, { signal: controller.signal });
      await until(() => (server.requests[0]?.sentBytes ?? 0) > 100_000, "the first bytes");
      controller.abort(new FleetError("CANCELLED", "The instance is deleted."));
      server.serve("/disk", image);
      const [, path] = await Promise.all([expect(given).rejects.toMatchObject({ code: "CANCELLED" }), prepare(url)]);
      expect((await readFile(path)).equals(image)).toBe(true);
    });
  });

  describe("of an agent that is killed in the middle", () => {
    it("are removed when it is back, and fetched whole", async () => {
      const before = await urlFiles();
      const client = host.connect();
      const killed = allowing({ client });
      const url = server.serve("/disk", image, { chunkDelayMs: 500 });
      const lost = expect(prepare(url, { storage: killed })).rejects.toMatchObject({ code: "UNAVAILABLE" });
      await until(async () => (await urlFiles()).length > before.length, "the volume that is written to");
      // As SIGKILL does it: the connection is gone at once, and nothing can be tidied up.
      await client.close();
      await lost;
      const left = (await urlFiles()).filter((name) => !before.includes(name));
      expect(left).toHaveLength(1);

      const restarted = allowing();
      await restarted.ensurePools(signal);
      expect(await urlFiles()).toEqual(before);
      server.serve("/disk", image);
      expect((await readFile(await prepare(url, { storage: restarted }))).equals(image)).toBe(true);
    });

    it("are not removed while another fetch writes them", async () => {
      const before = await urlFiles();
      const url = server.serve("/disk", image, { chunkDelayMs: 10 });
      const prepared = prepare(url);
      await until(async () => (await urlFiles()).length > before.length, "the volume that is written to");
      await storage.ensurePools(signal);
      expect((await readFile(await prepared)).equals(image)).toBe(true);
    });
  });

  it("survive a libvirtd that is killed in the middle: the instance is tried again", async () => {
    const before = await urlFiles();
    const url = server.serve("/disk", image, { chunkDelayMs: 500 });
    const prepared = expect(prepare(url)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    // Before the first byte a new connection would do.
    const written = async () => {
      const name = (await urlFiles()).find((one) => !before.includes(one));
      return name !== undefined && (await stat(join(host.images, name))).size > 0;
    };
    await until(written, "the volume that is written to");
    await host.daemon.kill();
    await host.daemon.start();
    await prepared;
    server.serve("/disk", image);
    expect((await readFile(await prepare(url))).equals(image)).toBe(true);
    // The image itself is known by its digest: what is new is where it came from.
    expect((await urlFiles()).length).toBe(before.length + 1);
  });
});
