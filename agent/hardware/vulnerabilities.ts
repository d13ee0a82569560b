import type { CpuVulnerability } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { HostChannel } from "../host/host-channel.ts";

const DIRECTORY = "/sys/devices/system/cpu/vulnerabilities";

export const VULNERABILITIES_PATHS = [DIRECTORY, `${DIRECTORY}/*`];

/** Also "KVM: Vulnerable" and "Processor vulnerable"; what follows a mitigation ("…; SMT vulnerable") does not count. */
const VULNERABLE = /^(?:KVM: |Processor )?vulnerable/i;

/** What the kernel knows of, by name. Throws HostReadError on a kernel that does not tell. */
export async function readVulnerabilities(host: HostChannel): Promise<CpuVulnerability[]> {
  const vulnerabilities: CpuVulnerability[] = [];
  for (const name of await host.list(DIRECTORY)) {
    const status = (await host.read(`${DIRECTORY}/${name}`)).trim();
    vulnerabilities.push({ name, status, vulnerable: VULNERABLE.test(status) });
  }
  return vulnerabilities;
}
