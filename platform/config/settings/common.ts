import { LOG_LEVELS } from "../../observability/log.ts";
import * as kind from "../kinds.ts";
import { CLUSTERS, COMMANDS, PROCESSES, withDefault } from "./setting.ts";

/** What every process needs. */
export const COMMON_SETTINGS = {
  dataDir: withDefault({
    kind: kind.path,
    flag: "--data",
    default: "./data",
    commands: COMMANDS,
    description: "Where databases, keys and the certificate authority are kept.",
  }),
  "cluster.name": withDefault({
    kind: kind.text("name"),
    flag: "--cluster-name",
    default: "fleetgraph",
    commands: CLUSTERS,
    description: "The fleet's name, as `clusterInfo` shows it.",
  }),
  "log.level": withDefault({
    kind: kind.oneOf(LOG_LEVELS),
    flag: "--log-level",
    default: "info",
    commands: [...PROCESSES, "simulate"],
    description: "The least level that is logged.",
  }),
  "log.format": withDefault({
    kind: kind.oneOf(["auto", "json", "pretty"]),
    flag: "--log-format",
    default: "auto",
    commands: [...PROCESSES, "simulate"],
    description: "One JSON object per line, or lines for a person; auto is pretty on a terminal.",
  }),
};
