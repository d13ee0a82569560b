import { FleetError } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { type AttachedDevice, DeviceAgentServiceDefinition, type DeviceName } from "../../schema/generated/proto/hypervisor/v1/devices.ts";

/** DeviceAgentService of a recorded agent: gives what it is asked for, or refuses as a test says. */
export class RecordedDevices {
  /** By instance. */
  readonly attached = new Map<string, AttachedDevice[]>();
  readonly vfs = new Map<string, number>();
  /** Thrown instead of doing it. */
  refuses: FleetError | null = null;
  /** True: it is done, but the answer is lost. */
  losesAnswers = false;

  service(): GrpcService {
    return grpcService(DeviceAgentServiceDefinition, {
      attachDevice: async ({ instanceId, device }) => {
        if (this.refuses !== null) throw this.refuses;
        const attached = { device, plugged: true, model: "Intel 82574L" };
        this.attached.set(instanceId, [...this.#without(instanceId, device), attached]);
        this.#answer();
        return attached;
      },
      detachDevice: async ({ instanceId, device }) => {
        if (this.refuses !== null) throw this.refuses;
        this.attached.set(instanceId, this.#without(instanceId, device));
        this.#answer();
        return {};
      },
      listAttachedDevices: async ({ instanceId }) => ({ devices: this.attached.get(instanceId) ?? [] }),
      setSriovVfs: async ({ pciAddress, count }) => {
        this.vfs.set(pciAddress, count);
        return { sriov: { totalVfs: 4, enabledVfs: count, functions: [] } };
      },
    });
  }

  #without(instanceId: string, device: DeviceName | undefined): AttachedDevice[] {
    const place = (name: DeviceName | undefined) => name?.usb?.port ?? name?.pciAddress;
    return (this.attached.get(instanceId) ?? []).filter((one) => place(one.device) !== place(device));
  }

  #answer(): void {
    if (this.losesAnswers) throw new FleetError("UNAVAILABLE", "The answer is lost.", { reason: "AgentUnreachable" });
  }
}
