/** An administrator's URL of the PostgreSQL server: tests create databases of their own in it and drop them. */
export const POSTGRESQL_URL = process.env.TEST_POSTGRESQL_URL ?? "postgresql://postgres@127.0.0.1:5432/postgres";
export const NATS_URL = process.env.TEST_NATS_URL ?? "nats://127.0.0.1:4222";
export const CHROMIUM = process.env.TEST_CHROMIUM ?? "/usr/bin/chromium";
