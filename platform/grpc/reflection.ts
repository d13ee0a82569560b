import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { load, type PackageDefinition } from "@grpc/proto-loader";
import { type Server, type ServiceImplementation, Status } from "nice-grpc";
import { DescriptorFiles } from "./descriptor-files.ts";

/** Made by `buf build`: our contracts, and those of health and reflection themselves. A server lists what of them it serves. */
const CONTRACTS = ["hypervisor.binpb", "grpc-services.binpb"].map((name) => new URL(`../../schema/generated/${name}`, import.meta.url));
const HEALTH = "grpc.health.v1.Health";
/** The second is what clients made before 2023 ask for; its messages are the same. */
const VERSIONS = ["v1", "v1alpha"];

interface ReflectionRequest {
  messageRequest?: "fileByFilename" | "fileContainingSymbol" | "fileContainingExtension" | "allExtensionNumbersOfType" | "listServices";
  fileByFilename?: string;
  fileContainingSymbol?: string;
}

/** Adds gRPC server reflection for these services (full names) and the health service. It asks for no credentials. */
export async function addReflection(server: Server, services: readonly string[]): Promise<void> {
  const files = new DescriptorFiles();
  for (const contract of CONTRACTS) files.addSet(await readFile(contract));
  const protocols = await Promise.all(VERSIONS.map(loadProtocol));
  const listed = [...services, HEALTH, ...protocols.map(({ name }) => name)].filter((name) => files.has(name)).sort();
  for (const { name, definition } of protocols) {
    const implementation = {
      async *ServerReflectionInfo(requests: AsyncIterable<ReflectionRequest>) {
        for await (const request of requests) yield { validHost: "", originalRequest: request, ...answer(request, files, listed) };
      },
    };
    const service = definition[name] as ServiceDefinition;
    server.add(service, implementation as unknown as ServiceImplementation<ServiceDefinition>);
  }
}

function answer(request: ReflectionRequest, files: DescriptorFiles, services: string[]): object {
  switch (request.messageRequest) {
    case "listServices":
      return { listServicesResponse: { service: services.map((name) => ({ name })) } };
    case "fileByFilename":
      return descriptors(files.byName(request.fileByFilename ?? ""));
    case "fileContainingSymbol":
      return descriptors(files.bySymbol(request.fileContainingSymbol ?? ""));
    case "fileContainingExtension":
    case "allExtensionNumbersOfType":
      // proto3 contracts have no extensions.
      return descriptors(null);
    default:
      return { errorResponse: { errorCode: Status.UNIMPLEMENTED, errorMessage: "unknown request" } };
  }
}

function descriptors(found: Uint8Array[] | null): object {
  if (found === null) return { errorResponse: { errorCode: Status.NOT_FOUND, errorMessage: "not found" } };
  return { fileDescriptorResponse: { fileDescriptorProto: found } };
}

async function loadProtocol(version: string): Promise<{ name: string; definition: PackageDefinition }> {
  const path = createRequire(import.meta.url).resolve(`@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`);
  return { name: `grpc.reflection.${version}.ServerReflection`, definition: await load(path, { oneofs: true }) };
}
