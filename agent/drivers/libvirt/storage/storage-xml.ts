import { attribute, buildXml, element, parseXml, text } from "../xml.ts";

/** A volume as libvirt finds it now. Sizes in bytes. */
export interface VolumeFacts {
  path: string;
  /** libvirt's word: "file", "dir", "block", … */
  type: string;
  /** What libvirt takes its content for: "raw", "qcow2", … */
  format: string;
  /** The virtual size. */
  capacity: number;
  /** The length of the file. */
  physicalBytes: number;
  /** What it takes of the disk. */
  allocatedBytes: number;
  /** Changes whenever the content does. */
  modified: string;
  /** What its header says; null where it stands alone. */
  backingPath: string | null;
}

export interface NewVolume {
  name: string;
  format: "qcow2" | "raw";
  capacity: number;
  backing?: { path: string; format: "qcow2" | "raw" };
}

export interface PoolFacts {
  type: string;
  path: string;
}

export function poolXml(name: string, directory: string): string {
  return buildXml({ pool: { "@type": "dir", name, target: { path: directory } } });
}

export function readPoolXml(xml: string): PoolFacts {
  const pool = parseXml(xml, "pool");
  return { type: attribute(pool, "type"), path: text(element(pool, "target", "path")) };
}

/** A file that takes no room before something is written to it. */
export function volumeXml({ name, format, capacity, backing }: NewVolume): string {
  return buildXml({
    volume: {
      "@type": "file",
      name,
      capacity: { "@unit": "bytes", "#text": capacity },
      allocation: { "@unit": "bytes", "#text": 0 },
      // libvirt's own default for qcow2 is the version that QEMU left behind in 2013.
      target: { format: { "@type": format }, compat: format === "qcow2" && "1.1" },
      backingStore: backing && { path: backing.path, format: { "@type": backing.format } },
    },
  });
}

export function readVolumeXml(xml: string): VolumeFacts {
  const volume = parseXml(xml, "volume");
  const backingPath = text(element(volume, "backingStore", "path"));
  const capacity = Number(text(element(volume, "capacity")));
  const physical = text(element(volume, "physical"));
  return {
    path: text(element(volume, "target", "path")),
    type: attribute(volume, "type"),
    format: attribute(element(volume, "target", "format"), "type"),
    capacity,
    physicalBytes: physical === "" ? capacity : Number(physical),
    allocatedBytes: Number(text(element(volume, "allocation"))) || 0,
    modified: text(element(volume, "target", "timestamps", "mtime")),
    backingPath: backingPath === "" ? null : backingPath,
  };
}
