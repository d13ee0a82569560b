import type { Dispatcher } from "undici";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { precondition } from "../../../shared/refusals.ts";
import { type ByteSource, type OpenedBytes, RestMissing, type Resume, TransferBroken } from "./byte-source.ts";
import { failed } from "./fetch-errors.ts";
import type { HttpAccounts } from "./http-accounts.ts";
import { discard, type ImageHttp } from "./image-http.ts";

type Headers = Dispatcher.ResponseData["headers"];

/** A file of an HTTP server. Its validator is a strong ETag, or else a date. */
export class HttpSource implements ByteSource {
  readonly #http: ImageHttp;
  readonly #url: URL;
  readonly #accounts: HttpAccounts;

  constructor(http: ImageHttp, url: URL) {
    this.#http = http;
    this.#url = url;
    this.#accounts = http.accounts();
  }

  async open(resume: Resume | null, signal: AbortSignal): Promise<OpenedBytes> {
    const asked: Record<string, string> = resume === null ? {} : { range: `bytes=${resume.offset}-`, "if-range": resume.validator };
    const { statusCode, headers, body } = await this.#http.get(this.#url.href, asked, this.#accounts, signal);
    try {
      const opened = this.#read(statusCode, headers, resume);
      return { ...opened, body: body as AsyncIterable<Uint8Array>, close: async () => discard(body) };
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async isUnchanged(validator: string, signal: AbortSignal): Promise<boolean> {
    const asked: Record<string, string> = validator.startsWith('"') ? { "if-none-match": validator } : { "if-modified-since": validator };
    const { statusCode, body } = await this.#http.get(this.#url.href, asked, this.#accounts, signal);
    discard(body);
    return statusCode === 304;
  }

  #read(status: number, headers: Headers, resume: Resume | null): Pick<OpenedBytes, "offset" | "total" | "validator"> {
    this.#checkStatus(status, headers);
    if (status === 200) {
      const length = Number(headers["content-length"] ?? Number.NaN);
      return { offset: 0, total: Number.isSafeInteger(length) ? length : null, validator: validatorOf(headers) };
    }
    const rest = resume === null || status !== 206 ? null : restOf(headers, resume);
    if (rest === null || resume === null) throw new RestMissing("the server does not have the part that was asked for");
    return { ...rest, validator: resume.validator };
  }

  #checkStatus(status: number, headers: Headers): void {
    if (status === 416) return;
    if (status === 408 || status === 429 || status >= 500) throw new TransferBroken(`the server answered ${status}`);
    if (status === 404 || status === 410) {
      throw new FleetError("FAILED_PRECONDITION", `There is no image at that URL: the server answered ${status}.`, {
        reason: "ImageNotFound",
      });
    }
    if (status === 401 || status === 403) throw denied(status, this.#url);
    if (status !== 200 && status !== 206) throw failed(`The server answered ${status}.`);
    const encoding = headers["content-encoding"];
    if (encoding === undefined || encoding === "identity") return;
    // Many servers call a .gz file so; it is sent as it is nevertheless.
    if (/^(x-)?gzip$/.test(String(encoding)) && /\.t?gz$/i.test(this.#url.pathname)) return;
    throw failed(`The server sends it as ${String(encoding)}, not as it is.`);
  }
}

function denied(status: number, { protocol, host }: URL): FleetError {
  const how =
    protocol === "https:"
      ? `Keep a name and a password for ${host} (setRegistryCredential)`
      : `Keep a name and a password for ${host} (setRegistryCredential); by http they are only sent to servers that agent.imageUrls names`;
  return precondition("ImageAccessDenied", `The server does not give the image to everyone: it answered ${status}. ${how}.`, {
    field: "spec.image",
    registry: host,
  });
}

/** Null: it is not the rest of the same file. */
function restOf(headers: Headers, { offset, validator }: Resume): { offset: number; total: number | null } | null {
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(headers["content-range"] ?? ""));
  if (range === null || Number(range[1]) !== offset) return null;
  const { etag } = headers;
  if (validator.startsWith('"') && etag !== undefined && etag !== validator) return null;
  return { offset, total: range[2] === "*" ? null : Number(range[2]) };
}

function validatorOf(headers: Headers): string | null {
  const etag = headers["etag"];
  const modified = headers["last-modified"];
  if (typeof etag === "string" && etag.startsWith('"')) return etag;
  return typeof modified === "string" ? modified : null;
}
