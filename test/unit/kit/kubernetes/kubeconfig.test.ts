import { beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { parseKubeconfig } from "../../../../subgraphs/kit/kubernetes/kubeconfig.ts";
import { TestAuthority, type TestCertificate } from "../../../support/kubernetes/test-authority.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

const SECRET = "s3cr3t-token-of-nobody";
const MEGABYTE = 1024 ** 2;

interface Parts {
  cluster?: object;
  user?: object;
  context?: object;
  more?: object;
}

function kubeconfig({ cluster, user, context, more }: Parts = {}): Record<string, unknown> {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443", ...cluster } }],
    users: [{ name: "u", user: user ?? { token: SECRET } }],
    contexts: [{ name: "one", context: { cluster: "c", user: "u", ...context } }],
    "current-context": "one",
    ...more,
  };
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** What parsing, and choosing the current context, says. */
function refusalOf(raw: string, context: string | null = null): FleetError {
  try {
    parseKubeconfig(raw).access(context);
  } catch (error) {
    if (error instanceof FleetError) return error;
    throw error;
  }
  throw new Error("It was taken.");
}

describe("a kubeconfig", () => {
  let authority: TestAuthority;
  let own: TestCertificate;

  beforeAll(async () => {
    authority = await TestAuthority.create();
    own = await authority.sign({ commonName: "me" });
  });

  it("is read as YAML, as JSON, and either in base64", () => {
    const yaml = stringify(kubeconfig());
    const json = JSON.stringify(kubeconfig());
    const wrapped = base64(yaml).replace(/(.{76})/g, "$1\r\n");
    for (const raw of [yaml, json, base64(yaml), `${wrapped}\n`, base64(json), `\uFEFF${yaml}`, `---\n${yaml}`]) {
      expect(parseKubeconfig(raw).access(null)).toEqual({
        context: "one",
        server: "https://10.0.0.1:6443",
        tlsServerName: null,
        caPem: null,
        insecureSkipTlsVerify: false,
        proxyUrl: null,
        credentials: { kind: "TOKEN", token: SECRET },
      });
    }
  });

  it("says how a cluster is reached and how to log in", () => {
    const data = { "client-certificate-data": base64(own.certificatePem), "client-key-data": base64(own.keyPem) };
    const cluster = {
      server: "https://Cluster.example/k8s/c-1/",
      "certificate-authority-data": base64(authority.caPem),
      "tls-server-name": "kubernetes",
      "proxy-url": "http://proxy.example:3128",
    };
    const certificate = { kind: "CLIENT_CERTIFICATE", certificatePem: own.certificatePem, keyPem: own.keyPem };
    expect(parseKubeconfig(stringify(kubeconfig({ cluster, user: { ...data, token: SECRET } }))).access("one")).toEqual({
      context: "one",
      server: "https://cluster.example/k8s/c-1",
      tlsServerName: "kubernetes",
      caPem: authority.caPem,
      insecureSkipTlsVerify: false,
      proxyUrl: "http://proxy.example:3128",
      credentials: certificate,
    });
    const logins: Array<[object, object]> = [
      [
        { username: "me", password: "0123" },
        { kind: "BASIC", username: "me", password: "0123" },
      ],
      [{}, { kind: "NONE" }],
      [{ token: null, username: "" }, { kind: "NONE" }],
    ];
    for (const [user, credentials] of logins) {
      expect(parseKubeconfig(stringify(kubeconfig({ user }))).access(null).credentials).toEqual(credentials);
    }
    // A token of digits is no number.
    expect(parseKubeconfig(stringify(kubeconfig()).replace(SECRET, "0012345678901234567890")).access(null).credentials).toEqual({
      kind: "TOKEN",
      token: "0012345678901234567890",
    });
    const skipping = parseKubeconfig(stringify(kubeconfig({ cluster: { "insecure-skip-tls-verify": true } })));
    expect(skipping.access(null).insecureSkipTlsVerify).toBe(true);
  });

  it("shows its contexts without secrets, and the problems of those that cannot be used", () => {
    const raw = stringify(
      kubeconfig({
        context: { namespace: "work" },
        more: {
          clusters: [
            { name: "c", cluster: { server: "https://10.0.0.1:6443" } },
            { name: "plain", cluster: { server: `http://me:${SECRET}@10.0.0.2` } },
          ],
          users: [
            { name: "u", user: { token: SECRET } },
            { name: "aws", user: { exec: { command: "aws", env: [{ name: "KEY", value: SECRET }] } } },
          ],
          contexts: [
            { name: "one", context: { cluster: "c", user: "u", namespace: "work" } },
            { name: "cloud", context: { cluster: "c", user: "aws" } },
            { name: "bare", context: { cluster: "plain", user: "u" } },
            { name: "lost", context: { cluster: "nowhere", user: "u" } },
          ],
        },
      }),
    );
    const parsed = parseKubeconfig(raw);
    expect(parsed.currentContext).toBe("one");
    expect(parsed.contexts).toMatchObject([
      { name: "one", cluster: "c", user: "u", namespace: "work", server: "https://10.0.0.1:6443", authentication: "TOKEN", usable: true },
      {
        name: "cloud",
        authentication: null,
        usable: false,
        problem: expect.stringMatching(/would run a program.*fleetgraph cluster manifest/),
      },
      { name: "bare", server: null, usable: false, problem: expect.stringMatching(/user name or password/) },
      { name: "lost", cluster: "nowhere", usable: false, problem: expect.stringMatching(/no cluster of the name "nowhere"/) },
    ]);
    expect(parsed.contexts[0]?.problem).toBeNull();
    expect(JSON.stringify(parsed.contexts)).not.toContain(SECRET);
    expect(parsed.access(null).context).toBe("one");
    expect(refusalOf(raw, "cloud")).toMatchObject({ code: "INVALID_ARGUMENT", reason: "ExecPluginRefused" });
    expect(refusalOf(raw, "other")).toMatchObject({ reason: "KubeconfigIncomplete", details: { field: "kubeconfig", place: "contexts" } });
  });

  it("without a current context has to have only one", () => {
    const { "current-context": _, ...without } = kubeconfig();
    expect(parseKubeconfig(stringify(without)).access(null).context).toBe("one");
    const second = { name: "two", context: { cluster: "c", user: "u" } };
    const several = { ...without, contexts: [...(without["contexts"] as object[]), second] };
    expect(refusalOf(stringify(several))).toMatchObject({ reason: "KubeconfigIncomplete", details: { place: "current-context" } });
    expect(parseKubeconfig(stringify(several)).access("two").context).toBe("two");
  });

  it.each<[string, () => Parts, string, string]>([
    ["an exec plugin", () => ({ user: { exec: { command: "sh" } } }), "ExecPluginRefused", 'users["u"].user.exec'],
    [
      "an exec plugin beside a token",
      () => ({ user: { token: SECRET, exec: { command: "sh" } } }),
      "ExecPluginRefused",
      'users["u"].user.exec',
    ],
    ["an auth provider", () => ({ user: { "auth-provider": { name: "gcp" } } }), "ExecPluginRefused", 'users["u"].user.auth-provider'],
    ["a token file", () => ({ user: { tokenFile: "/etc/passwd", token: SECRET } }), "FileReferenceRefused", 'users["u"].user.tokenFile'],
    ["a certificate file", () => ({ user: { "client-certificate": "a" } }), "FileReferenceRefused", 'users["u"].user.client-certificate'],
    ["a key file", () => ({ user: { "client-key": "a" } }), "FileReferenceRefused", 'users["u"].user.client-key'],
    [
      "an authority file",
      () => ({ cluster: { "certificate-authority": "/ca" } }),
      "FileReferenceRefused",
      'clusters["c"].cluster.certificate-authority',
    ],
    ["impersonation", () => ({ user: { token: SECRET, as: "root" } }), "KubeconfigUnsupported", 'users["u"].user.as'],
    ["plain HTTP", () => ({ cluster: { server: "http://10.0.0.1" } }), "KubeconfigUnsupported", 'clusters["c"].cluster.server'],
    ["a login in the address", () => ({ cluster: { server: "https://a:b@c" } }), "KubeconfigUnsupported", 'clusters["c"].cluster.server'],
    ["a SOCKS proxy", () => ({ cluster: { "proxy-url": "socks5://p:1" } }), "KubeconfigUnsupported", 'clusters["c"].cluster.proxy-url'],
    ["no address", () => ({ cluster: { server: null } }), "KubeconfigIncomplete", 'clusters["c"].cluster.server'],
    ["half an address", () => ({ cluster: { server: "10.0.0.1:6443" } }), "KubeconfigMalformed", 'clusters["c"].cluster.server'],
    ["a query", () => ({ cluster: { server: "https://a/?b" } }), "KubeconfigMalformed", 'clusters["c"].cluster.server'],
    ["no authority in it", () => ({ cluster: { "certificate-authority-data": base64("x") } }), "KubeconfigMalformed", "*"],
    ["no base64 in it", () => ({ cluster: { "certificate-authority-data": "-----BEGIN" } }), "KubeconfigMalformed", "*"],
    ["a word for a flag", () => ({ cluster: { "insecure-skip-tls-verify": "maybe" } }), "KubeconfigMalformed", "*"],
    ["a token of two lines", () => ({ user: { token: "a\nb" } }), "KubeconfigMalformed", 'users["u"].user.token'],
    ["a list for a token", () => ({ user: { token: [SECRET] } }), "KubeconfigMalformed", 'users["u"].user.token'],
    ["half a login", () => ({ user: { username: "me" } }), "KubeconfigIncomplete", 'users["u"].user'],
    ["half a certificate", () => ({ user: { "client-key-data": base64(own.keyPem) } }), "KubeconfigIncomplete", "*"],
    ["an unknown user", () => ({ context: { user: "x" } }), "KubeconfigIncomplete", 'contexts["one"].context.user'],
    ["no user", () => ({ context: { user: null } }), "KubeconfigIncomplete", 'contexts["one"].context.user'],
    ["no contexts", () => ({ more: { contexts: null } }), "KubeconfigIncomplete", "contexts"],
    ["a mapping of contexts", () => ({ more: { contexts: { one: {} } } }), "KubeconfigMalformed", "contexts"],
    ["two users of a name", () => ({ more: { users: [{ name: "u" }, { name: "u" }] } }), "KubeconfigMalformed", 'users["u"]'],
    ["an endless name", () => ({ more: { users: [{ name: "u".repeat(300) }] } }), "KubeconfigMalformed", "users[0].name"],
    [
      "too many users",
      () => ({ more: { users: Array.from({ length: 201 }, (_, index) => ({ name: `u${index}` })) } }),
      "KubeconfigTooLarge",
      "contexts",
    ],
  ])("with %s is refused, with its place", (_what, parts, reason, place) => {
    const refusal = refusalOf(stringify(kubeconfig(parts())));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", reason, details: { field: "kubeconfig" } });
    if (place !== "*") expect(refusal.details["place"]).toBe(place);
    expect(refusal.message + JSON.stringify(refusal.details)).not.toContain(SECRET);
  });

  it("with another's key is refused", async () => {
    const other = await authority.sign({ commonName: "other" });
    const user = { "client-certificate-data": base64(own.certificatePem), "client-key-data": base64(other.keyPem) };
    expect(refusalOf(stringify(kubeconfig({ user })))).toMatchObject({ reason: "KubeconfigMalformed" });
  });

  it("says what to do instead", () => {
    expect(refusalOf(stringify(kubeconfig({ user: { exec: {} } }))).message).toMatch(/fleetgraph cluster manifest/);
    expect(refusalOf(stringify(kubeconfig({ user: { tokenFile: "x" } }))).message).toMatch(/--minify --flatten --raw.*cluster manifest/);
  });

  it.each<[string, string, string]>([
    ["50 MB", "a".repeat(50 * MEGABYTE), "KubeconfigTooLarge"],
    ["50 MB of YAML", `a: ${"b".repeat(50 * MEGABYTE)}`, "KubeconfigTooLarge"],
    ["a byte too much", `a: ${"b".repeat(MEGABYTE - 2)}`, "KubeconfigTooLarge"],
    ["a byte too much, in base64", base64(`a: ${"b".repeat(MEGABYTE - 2)}`), "KubeconfigTooLarge"],
    ["a bomb of aliases", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]", "KubeconfigMalformed"],
    ["a bomb of merges", "a: &a {x: 1}\nb: {<<: *a}", "KubeconfigMalformed"],
    ["an alias of itself", "a: &a [*a]", "KubeconfigMalformed"],
    ["brackets", "[".repeat(MEGABYTE - 1), "KubeconfigMalformed"],
    ["brackets behind a colon", `a: ${"[".repeat(MEGABYTE - 10)}`, "KubeconfigTooLarge"],
    ["some brackets", `a: ${"[".repeat(40_000)}`, "KubeconfigMalformed"],
    ["many keys", Array.from({ length: 90_000 }, (_, index) => `k${index}: 1`).join("\n"), "KubeconfigTooLarge"],
    ["many lines", `a: 1${"\n".repeat(MEGABYTE - 10)}`, "KubeconfigTooLarge"],
    // How many levels the parser can take depends on the stack.
    ["levels", Array.from({ length: 1_400 }, (_, index) => `${" ".repeat(index)}a:`).join("\n"), "Kubeconfig(Malformed|Incomplete)"],
    ["dashes", `a:\n${"- ".repeat(40_000)}x`, "KubeconfigMalformed"],
    ["two documents", "a: 1\n---\nb: 2", "KubeconfigMalformed"],
    ["a key twice", "a: 1\na: 2", "KubeconfigMalformed"],
    ["nothing", " \n", "KubeconfigIncomplete"],
    ["a word", "hello", "KubeconfigMalformed"],
    ["a list", "- a: 1", "KubeconfigMalformed"],
    ["bytes", Buffer.from([0x61, 0x3a, 0xff, 0xfe]).toString("base64"), "KubeconfigMalformed"],
  ])("of %s is refused cheaply", (_what, raw, reason) => {
    const refused = { code: "INVALID_ARGUMENT", reason: expect.stringMatching(`^${reason}$`), details: { field: "kubeconfig" } };
    expect(refusalOf(raw)).toMatchObject(refused);
  });

  it("does not find what JavaScript's objects have by themselves", () => {
    expect(refusalOf("__proto__: {contexts: [{name: one}]}\nconstructor: {a: b}")).toMatchObject({ reason: "KubeconfigIncomplete" });
  });

  it("that is damaged is refused without its secrets, or taken", () => {
    const seed = seedOfRun();
    const random = seededRandom(seed);
    const pick = (below: number) => Math.floor(random() * below);
    const user = { token: SECRET, "client-key-data": base64(SECRET), password: SECRET };
    const good = stringify(kubeconfig({ user }));
    // No quotes, and no more than a letter away: what was a secret must not become a name, which is shown.
    const marks = ["\n", " ", ":", "- ", "\t", "[", "]", "{", "}", "&a ", "*a", "|", ">", "!!str ", "#", "%", "\0", "é"];
    for (let time = 0; time < 1_500; time += 1) {
      let text = good;
      for (let change = 0; change <= pick(4); change += 1) {
        const at = pick(text.length);
        text = text.slice(0, at) + (marks[pick(marks.length)] ?? "") + text.slice(at + pick(2));
      }
      try {
        const parsed = parseKubeconfig(text);
        expect(JSON.stringify(parsed.contexts), `SEED=${seed}`).not.toMatch(/s3cr3t/);
        parsed.access(null);
      } catch (error) {
        if (!(error instanceof FleetError)) throw error;
        expect(error, `SEED=${seed}`).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "kubeconfig" } });
        expect(error.message + JSON.stringify(error.details), `SEED=${seed}`).not.toMatch(/s3cr3t/);
      }
    }
  });
});
