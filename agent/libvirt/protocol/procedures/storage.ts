import { flag, flags, int, list, needResults, string, uhyper, uint, uuid } from "../codec.ts";
import { high, long, streaming } from "../procedure.ts";
import { storagePool, storageVolume } from "../structures.ts";

const pool = storagePool;
const vol = storageVolume;
/** In bytes. */
const volumeInfo = { type: int, capacity: uhyper, allocation: uhyper };

export const STORAGE_PROCEDURES = {
  connectListAllStoragePools: high(281, { needResults, flags }, { pools: list(storagePool), ret: uint }),
  storagePoolLookupByName: high(84, { name: string }, { pool }),
  storagePoolLookupByUuid: high(85, { uuid }, { pool }),
  storagePoolLookupByVolume: high(86, { vol }, { pool }),
  storagePoolLookupByTargetPath: high(391, { path: string }, { pool }),
  storagePoolDefineXml: high(77, { xml: string, flags }, { pool }),
  storagePoolCreateXml: long(76, { xml: string, flags }, { pool }),
  storagePoolCreate: long(78, { pool, flags }),
  storagePoolBuild: long(79, { pool, flags }),
  storagePoolRefresh: long(83, { pool, flags }),
  storagePoolDestroy: high(80, { pool }),
  storagePoolDelete: long(81, { pool, flags }),
  storagePoolUndefine: high(82, { pool }),
  /** `state` is an index of STORAGE_POOL_STATES; sizes in bytes. */
  storagePoolGetInfo: high(87, { pool }, { state: uint, capacity: uhyper, allocation: uhyper, available: uhyper }),
  storagePoolGetXmlDesc: high(88, { pool, flags }, { xml: string }),
  storagePoolIsActive: high(154, { pool }, { active: flag }),
  storagePoolSetAutostart: high(90, { pool, autostart: flag }),
  storagePoolGetAutostart: high(89, { pool }, { autostart: flag }),
  storagePoolListAllVolumes: high(282, { pool, needResults, flags }, { vols: list(storageVolume), ret: uint }),

  storageVolLookupByName: high(95, { pool, name: string }, { vol }),
  storageVolLookupByKey: high(96, { key: string }, { vol }),
  storageVolLookupByPath: high(97, { path: string }, { vol }),
  storageVolCreateXml: long(93, { pool, xml: string, flags }, { vol }),
  storageVolCreateXmlFrom: long(125, { pool, xml: string, clonevol: storageVolume, flags }, { vol }),
  storageVolDelete: long(94, { vol, flags }),
  storageVolWipe: long(165, { vol, flags }),
  /** Without VOLUME_RESIZE.DELTA the new capacity, in bytes. */
  storageVolResize: long(260, { vol, capacity: uhyper, flags }),
  storageVolGetInfo: high(98, { vol }, volumeInfo),
  storageVolGetInfoFlags: high(378, { vol, flags }, volumeInfo),
  storageVolGetXmlDesc: high(99, { vol, flags }, { xml: string }),
  storageVolGetPath: high(100, { vol }, { name: string }),
  /** In bytes; a length of 0 is up to the end. */
  storageVolUpload: streaming(208, "pause", { vol, offset: uhyper, length: uhyper, flags }),
  storageVolDownload: streaming(209, "pause", { vol, offset: uhyper, length: uhyper, flags }),
};
