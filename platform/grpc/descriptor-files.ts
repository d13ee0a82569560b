import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

interface DescriptorFile {
  bytes: Uint8Array;
  imports: string[];
}

/** Proto files in their compiled form, found by file name or by what they declare, as server reflection hands them out. */
export class DescriptorFiles {
  readonly #files = new Map<string, DescriptorFile>();
  /** Full names of messages, enums, services and methods, to the file's name. */
  readonly #symbols = new Map<string, string>();

  /** A serialised FileDescriptorSet, as `buf build` writes it. */
  addSet(bytes: Uint8Array): void {
    for (const file of fromBinary(FileDescriptorSetSchema, bytes).file) this.#add(file);
  }

  /** The file with all that it imports, itself first; null where there is none of that name. */
  byName(name: string): Uint8Array[] | null {
    if (!this.#files.has(name)) return null;
    const wanted = new Set([name]);
    // A set hands out what is added while it is walked.
    for (const next of wanted) for (const imported of this.#files.get(next)?.imports ?? []) wanted.add(imported);
    return [...wanted].flatMap((file) => this.#files.get(file)?.bytes ?? []);
  }

  /** The file that declares the symbol, with what it imports. */
  bySymbol(symbol: string): Uint8Array[] | null {
    const file = this.#symbols.get(symbol);
    return file === undefined ? null : this.byName(file);
  }

  has(symbol: string): boolean {
    return this.#symbols.has(symbol);
  }

  #add(file: FileDescriptorProto): void {
    if (this.#files.has(file.name)) return;
    this.#files.set(file.name, { bytes: toBinary(FileDescriptorProtoSchema, file), imports: file.dependency });
    const note = (scope: string, name: string) => {
      const symbol = scope === "" ? name : `${scope}.${name}`;
      this.#symbols.set(symbol, file.name);
      return symbol;
    };
    const noteEnums = (scope: string, enums: EnumDescriptorProto[]) => {
      for (const { name } of enums) note(scope, name);
    };
    const noteMessages = (scope: string, messages: DescriptorProto[]) => {
      for (const message of messages) {
        const symbol = note(scope, message.name);
        for (const field of message.field) note(symbol, field.name);
        noteMessages(symbol, message.nestedType);
        noteEnums(symbol, message.enumType);
      }
    };
    noteMessages(file.package, file.messageType);
    noteEnums(file.package, file.enumType);
    for (const service of file.service) {
      const symbol = note(file.package, service.name);
      for (const method of service.method) note(symbol, method.name);
    }
  }
}
