import { createHash } from "node:crypto";
import { posix } from "node:path";
import { PoolKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import { attribute, buildXml, element, parseXml, text } from "../xml.ts";

/** A pool of ours as it is to be. */
export interface NewPool {
  name: string;
  kind: PoolKind.DIR | PoolKind.NETFS;
  /** Its directory on the host, or where it is mounted. */
  path: string;
  /** NETFS. */
  source: NetworkSource | null;
}

export interface NetworkSource {
  server: string;
  /** An absolute path on the server. */
  export: string;
}

/** A pool as libvirt has it. */
export interface PoolDescription {
  name: string;
  uuid: string;
  kind: PoolKind;
  /** libvirt's word. */
  nativeKind: string;
  path: string;
  /** NETFS: "server:/export"; else "". */
  source: string;
  /** Made by us. */
  managed: boolean;
}

const NAMESPACE = "https://fleetgraph.dev/pool/1";
const KINDS: Record<string, PoolKind> = { dir: PoolKind.DIR, netfs: PoolKind.NETFS };

/** One attempt, because libvirt looks after no other pool meanwhile. */
const MOUNT_OPTIONS = {
  "@xmlns:fs": "http://libvirt.org/schemas/storagepool/fs/1.0",
  "fs:mount_opts": { "fs:option": { "@name": "retry=0" } },
};

/**
 * libvirt keeps no notes of others with a pool, so the mark of ours is the UUID: it follows from the name, and nobody else's comes out like that.
 */
export function poolUuid(name: string): string {
  const hash = createHash("sha256").update(`${NAMESPACE}/${name}`).digest("hex");
  // Version 8: made by a rule of its own.
  return [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `a${hash.slice(17, 20)}`, hash.slice(20, 32)].join("-");
}

export function newPoolXml({ name, kind, path, source }: NewPool): string {
  return buildXml({
    pool: {
      "@type": kind === PoolKind.DIR ? "dir" : "netfs",
      name,
      uuid: poolUuid(name),
      source: source && { host: { "@name": source.server }, dir: { "@path": source.export }, format: { "@type": "nfs" } },
      target: { path },
      ...(kind === PoolKind.NETFS && MOUNT_OPTIONS),
    },
  });
}

export function readPoolDescription(xml: string): PoolDescription {
  const pool = parseXml(xml, "pool");
  const nativeKind = attribute(pool, "type");
  const [name, uuid] = [text(element(pool, "name")), text(element(pool, "uuid"))];
  const source = element(pool, "source");
  const path = text(element(pool, "target", "path"));
  return {
    name,
    uuid,
    kind: KINDS[nativeKind] ?? PoolKind.OTHER,
    nativeKind,
    path: path === "" ? "" : posix.join(path, "/").slice(0, -1),
    source: nativeKind === "netfs" ? `${attribute(element(source, "host"), "name")}:${attribute(element(source, "dir"), "path")}` : "",
    managed: uuid === poolUuid(name),
  };
}
