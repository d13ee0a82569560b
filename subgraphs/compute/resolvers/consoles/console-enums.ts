import { registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { CONSOLE_ENCODINGS, CONSOLE_ENDS, CONSOLE_KINDS } from "../../services/consoles/console-types.ts";

export const ConsoleKindEnum = enumOf(CONSOLE_KINDS);
registerEnumType(ConsoleKindEnum, {
  name: "ConsoleKind",
  description: "What is behind a console.",
  valuesConfig: {
    SERIAL: { description: "The first serial line of a VM or microVM." },
    TTY: { description: "The terminal of a container's first process." },
    SHELL: { description: "A login shell on the host itself." },
  },
});

export const ConsoleEndEnum = enumOf(CONSOLE_ENDS);
registerEnumType(ConsoleEndEnum, {
  name: "ConsoleEnd",
  description: "Why a console session is over.",
  valuesConfig: {
    CLOSED: { description: "By closeConsole." },
    STOPPED: { description: "The instance, or the shell, ended." },
    MIGRATED: { description: "The instance moved to another host: open its console again." },
    IDLE: { description: "Nobody watched it for some time." },
    LOST: { description: "What carries the console failed." },
  },
});

export const ConsoleEncodingEnum = enumOf(CONSOLE_ENCODINGS);
registerEnumType(ConsoleEncodingEnum, {
  name: "ConsoleEncoding",
  description: "How a console's bytes come.",
  valuesConfig: {
    TEXT: {
      description:
        "As UTF-8. A character that is split over frames comes whole, with the later one. Bytes that are no UTF-8 are replaced by U+FFFD: use BASE64 where each byte counts.",
    },
    BASE64: { description: "Each byte as it is, in RFC 4648 base64." },
  },
});
