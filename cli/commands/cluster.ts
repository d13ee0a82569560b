import { Command, InvalidArgumentError, Option } from "commander";

export function clusterCommand(): Command {
  return new Command("cluster").description("Prepare Kubernetes clusters.").addCommand(manifestCommand());
}

function manifestCommand(): Command {
  return new Command("manifest")
    .description(
      "Print what to apply in a Kubernetes cluster so that it can be registered: an account that reads its objects and no secrets, with a token. Its comments say how to make the kubeconfig.",
    )
    .addOption(new Option("--namespace <name>", "Where the account is").default("fleetgraph").argParser(namespaceOption))
    .action(async ({ namespace }: { namespace: string }) => {
      const { clusterManifest } = await import("../cluster/manifest.ts");
      process.stdout.write(clusterManifest(namespace));
    });
}

function namespaceOption(text: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError("A namespace has 1 to 63 lower-case letters, digits and inner hyphens.");
}
