import { createLogger } from "../../platform/observability/log.ts";
import type { Bus } from "../../subgraphs/kit/events/bus.ts";
import { InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { EventLog } from "../../subgraphs/kit/events/event-log.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import { openStore } from "../../subgraphs/kit/store/orm.ts";
import { seededRandom } from "./random.ts";
import { CreateThings20261101, changeThings, pickIds, ThingSchema } from "./things.ts";

/**
 * A replica in a process of its own, told by messages what to write. Run by event-writer.ts.
 * With `dieAtPublish` it dies by SIGKILL when that many events have been committed and are about to be published: the
 * product's bus is wrapped here, so that the product needs no hook for it.
 */
export interface WriterArguments {
  url: string;
  name: string;
  natsUrl: string | null;
}
export interface WriteOrder {
  seed: number;
  transactions: number;
  things: number;
  perTransaction: number;
  dieAtPublish: number | null;
}

const { url, name, natsUrl } = JSON.parse(process.argv[2] as string) as WriterArguments;
const log = createLogger({ name: "writer", level: "error" });
const bus: Bus = natsUrl ? new NatsBus({ url: natsUrl, name: "writer", log }) : new InProcessBus();
let dieAtPublish: number | null = null;
let published = 0;
const mortalBus: Bus = {
  publish(subject, payload, small) {
    published += 1;
    if (published === dieAtPublish) process.kill(process.pid, "SIGKILL");
    bus.publish(subject, payload, small);
  },
  subscribe: (subject, onMessage) => bus.subscribe(subject, onMessage),
  close: () => bus.close(),
};

const store = await openStore({ name, url, entities: [ThingSchema], migrations: [CreateThings20261101], log });
const events = new EventLog(store, mortalBus);
events.start();

async function write(order: WriteOrder): Promise<void> {
  const random = seededRandom(order.seed);
  dieAtPublish = order.dieAtPublish;
  published = 0;
  for (let transaction = 0; transaction < order.transactions; transaction += 1) {
    const count = 1 + Math.floor(random() * order.perTransaction);
    await changeThings(store, { ids: pickIds(random, order.things, count), random });
  }
}

process.on("message", (order: WriteOrder) => {
  write(order).then(
    () => process.send?.("done"),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    },
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
