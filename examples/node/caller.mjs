// Calls one tenant's model of a tierfleet fleet. Written from docs/calling.md; the numbers are its steps.
//
//   node caller.mjs '{"fleet":"fraud","environment":"prod","region":"eu-west-1"}' m37 0.3,1.0
//
// Without a tenant it reads lines of JSON {"tenant", "body"} from standard input and answers each with one line, in the
// order in which the replies arrive; an "id" is returned with its answer.

import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import {
  AppConfigDataClient,
  GetLatestConfigurationCommand,
  StartConfigurationSessionCommand,
} from "@aws-sdk/client-appconfigdata";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { InvokeEndpointCommand, SageMakerRuntimeClient } from "@aws-sdk/client-sagemaker-runtime";

const PART = /^routes\/[0-9a-f]{64}\.json$/;
const TENANT = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const SHORTEST_POLL_SECONDS = 15;
const DEFAULT_TTL_SECONDS = 60;
const FORCED_REFRESH_PAUSE_MS = 5000;
const LONGEST_PAUSE_MS = 2000;
const PATIENCE_MS = 1000;
// One request of routes or a pointer as a whole: the SDK's own timeout ends with the reply's head.
const LOOKUP_MS = 8000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
// S3's errors after which a pointer is no longer used; after any other error the old one is used.
const FINAL = ["NoSuchKey", "NoSuchBucket", "RemovedError", "AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "Forbidden"];
const POINTERS_KEPT = 10_000;
// The SDK's own limit is 50, and a call that waits 3 s for a socket fails as one that cannot connect.
const MOST_SOCKETS = 512;
const ATTEMPTS = { loading: Infinity, throttled: 5, dependency: 3, busy: 3, connection: 3, timeout: 2 };
const CONNECTION = ["ECONNRESET", "ECONNREFUSED", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN"];

export class FleetCaller {
  #routes;
  #token;
  #pollAt = 0;
  #waitAt = 0;
  #polling;
  #forcing;
  #forcedAt = -Infinity;
  #forcedBegun = 0;
  #forcedEnded = 0;
  #pointers = new Map();
  #heldPart;
  counts = { routeErrors: 0, routeFallback: 0 };

  constructor({ fleet, environment, account, region, ttlSeconds, deadlineSeconds = 70 }) {
    Object.assign(this, { fleet, environment, ttlSeconds, deadlineSeconds });
    this.bucket = account && `${fleet}--${environment}--models--${account}--${region}`;
    const options = { region, maxAttempts: 1 };
    const runtimeTimeout = Math.min(70, deadlineSeconds) * 1000;
    this.appconfig = new AppConfigDataClient({ ...options, requestHandler: handler(5000) });
    this.s3 = new S3Client({ ...options, requestHandler: handler(5000) });
    this.runtime = new SageMakerRuntimeClient({ ...options, requestHandler: handler(runtimeTimeout) });
    for (const client of [this.appconfig, this.s3, this.runtime]) {
      client.middlewareStack.add(framed, { step: "deserialize", priority: "low", name: "framed" });
    }
  }

  /** One number per row of `body`, and where it came from; throws the last error if the deadline passes. */
  async invoke(tenant, body, { contentType = "text/csv", deadlineSeconds = this.deadlineSeconds } = {}) {
    if (!TENANT.test(tenant)) throw new Error(`${JSON.stringify(tenant)} is not a tenant id`);
    const ending = new AbortController();
    const late = new Promise((_, reject) => {
      ending.signal.addEventListener("abort", () => {
        const what = ending.asked ? "answer" : "routes or pointer";
        reject(Object.assign(new Error(`no ${what} of ${tenant} before the deadline`), { name: "TimeoutError" }));
      });
    });
    const timer = setTimeout(() => ending.abort(), Math.min(LONGEST_TIMER_MS, deadlineSeconds * 1000));
    try {
      // A slow reply never reaches the SDK's timeout.
      return await Promise.race([this.#call(tenant, body, contentType, deadlineSeconds, ending), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #call(tenant, body, contentType, deadlineSeconds, ending) {
    const deadline = performance.now() + deadlineSeconds * 1000;
    const failures = {};
    const gone = new Set();
    let routes, route, pointer, renewed = false;
    for (let attempt = 1; ; attempt += 1) {
      try {
        routes ??= await this.#current();
        route ??= routeOf(routes, tenant); // 3
        if (route.shared) pointer ??= await this.#pointer(tenant); // 4
        if (performance.now() >= deadline) throw new Error(`no routes or pointer of ${tenant} before the deadline`);
        const request = { EndpointName: route.endpoint, Body: body, ContentType: contentType, Accept: "application/json" };
        if (route.shared) request.TargetModel = pointer.target_model;
        ending.asked = true;
        const reply = await this.runtime.send(new InvokeEndpointCommand(request), { abortSignal: ending.signal }); // 5
        if (reply.$metadata.httpStatusCode !== 200) throw new Error(`answered ${reply.$metadata.httpStatusCode}`);
        const text = Buffer.from(reply.Body).toString();
        const version = route.shared ? pointer.version : route.version;
        return { predictions: scores(text), tier: route.tier, endpoint: route.endpoint, version };
      } catch (error) {
        const kind = kindOf(error);
        if (kind === "unknown-endpoint") {
          this.counts.routeErrors += 1; // 7
          gone.add(route.endpoint);
          [routes, route] = await this.#reroute(routes, tenant, gone, deadline, error);
        } else if (kind === "missing-archive" && pointer && !renewed) {
          renewed = true; // 9
          const newer = await this.#newerPointer(tenant, pointer).catch(() => pointer);
          if (newer.target_model === pointer.target_model) throw error;
          pointer = newer;
        } else {
          await pause(error, kind, failures, deadline); // 10
        }
      }
    }
  }

  async #reroute(routes, tenant, gone, deadline, error) {
    const begun = this.#forcedBegun;
    for (;;) {
      const settled = this.#forcedEnded > begun;
      const newer = await this.#newerThan(routes);
      if (JSON.stringify(newer) !== JSON.stringify(routes)) gone.clear();
      routes = newer;
      const route = routeOf(routes, tenant);
      if (!gone.has(route.endpoint)) return [routes, route];
      const fallback = routes.tiers[routes.default_tier].endpoint && routeOf(routes, null); // 8
      if (fallback && !gone.has(fallback.endpoint)) {
        this.counts.routeFallback += 1;
        return [routes, fallback];
      }
      if (settled) throw error;
      if (this.#forcedEnded <= begun) {
        const wait = this.#forcedAt + FORCED_REFRESH_PAUSE_MS - performance.now();
        if (performance.now() + wait >= deadline) throw error;
        await sleep(Math.max(0, wait));
      }
    }
  }

  /** The routes: polled in the background, waited for only if there are none, or for a second after an idle time. */
  async #current() {
    const now = performance.now();
    if (this.#routes && now < this.#pollAt) return this.#routes;
    this.#polling ??= this.#fetch(false).finally(() => (this.#polling = undefined));
    if (!this.#routes) return this.#polling;
    const poll = this.#polling.catch(() => {
      this.#pollAt = performance.now() + FORCED_REFRESH_PAUSE_MS; // 2: AppConfig failed, keep the document
      this.#waitAt = Infinity; // and no call waits for it until it answers again
    });
    if (now >= this.#waitAt) {
      const late = await Promise.race([poll.then(() => false), sleep(PATIENCE_MS).then(() => true)]);
      if (late && performance.now() >= this.#waitAt) this.#waitAt = Infinity;
    }
    return this.#routes;
  }

  async #newerThan(seen) {
    if (this.#forcing) await this.#forcing;
    else if (this.#routes === seen && performance.now() >= this.#forcedAt + FORCED_REFRESH_PAUSE_MS) {
      this.#forcedAt = performance.now();
      this.#forcedBegun += 1;
      this.#forcing = this.#fetch(true)
        .catch(() => {})
        .finally(() => {
          this.#forcing = undefined;
          this.#forcedEnded += 1;
        });
      await this.#forcing;
    }
    return this.#routes;
  }

  async #fetch(newSession) {
    let token = newSession ? undefined : this.#token;
    this.#token = undefined;
    let reply;
    if (token) {
      reply = await this.appconfig
        .send(new GetLatestConfigurationCommand({ ConfigurationToken: token }), inTime())
        .catch(() => undefined);
    }
    if (!reply) {
      const session = await this.appconfig.send(
        new StartConfigurationSessionCommand({
          ApplicationIdentifier: `${this.fleet}--${this.environment}`,
          EnvironmentIdentifier: this.environment,
          ConfigurationProfileIdentifier: "routes",
          RequiredMinimumPollIntervalInSeconds: this.ttlSeconds ?? SHORTEST_POLL_SECONDS,
        }),
        inTime(),
      ); // 1
      token = session.InitialConfigurationToken;
      reply = await this.appconfig.send(new GetLatestConfigurationCommand({ ConfigurationToken: token }), inTime());
    }
    const text = Buffer.from(reply.Configuration ?? []).toString();
    if (text) {
      const routes = JSON.parse(text);
      if (routes?.version !== 1) throw new Error(`route document version ${routes?.version} is not 1`);
      const part = routes.parts?.tenants; // 2: the tenants of multi-model tiers of a large fleet
      if (part !== undefined) routes.tenants = { ...(await this.#part(routes.models_bucket, part)), ...routes.tenants };
      if (!isRoutes(routes)) throw new Error("the route document is malformed");
      if (routes.fleet !== this.fleet || routes.environment !== this.environment) {
        throw new Error(`the routes are those of ${routes.fleet} ${routes.environment}`);
      }
      this.#routes = routes;
    }
    if (!this.#routes) throw new Error("no routes are deployed");
    this.#token = reply.NextPollConfigurationToken;
    const ttlSeconds = this.ttlSeconds ?? this.#routes.ttl_seconds ?? DEFAULT_TTL_SECONDS;
    const asked = reply.NextPollIntervalInSeconds;
    const interval = Math.max(asked > 0 && asked <= 86_400 ? asked : 0, ttlSeconds) * 1000;
    this.#pollAt = performance.now() + interval;
    this.#waitAt = this.#pollAt + interval;
    return this.#routes;
  }

  /** A part of the routes; its key is named after its content, so it is read once. */
  async #part(Bucket, Key) {
    if (this.#heldPart?.key === Key) return this.#heldPart.content;
    if (typeof Bucket !== "string" || !PART.test(Key)) throw new Error("the route document names no part");
    const reply = await this.s3.send(new GetObjectCommand({ Bucket, Key }), inTime());
    const bytes = await reply.Body.transformToByteArray();
    const content = JSON.parse(Buffer.from(bytes).toString());
    if (`routes/${createHash("sha256").update(bytes).digest("hex")}.json` !== Key || content?.constructor !== Object) {
      throw new Error(`s3://${Bucket}/${Key} has bytes whose SHA-256 is not the one in its name`);
    }
    this.#heldPart = { key: Key, content };
    return content;
  }

  /** One read per tenant and 60 s, shared by whoever asks meanwhile; the old pointer if S3 fails or is silent. */
  #pointer(tenant) {
    const held = this.#pointers.get(tenant);
    this.#pointers.delete(tenant); // and comes back as the newest
    if (held && performance.now() < held.goodUntil) {
      this.#pointers.set(tenant, held);
      return held.read;
    }
    const entry = { goodUntil: performance.now() + 60_000 * (0.8 + 0.2 * Math.random()) };
    const fresh = this.#readPointer(tenant);
    const late = () => {
      fresh.then((pointer) => (entry.read = Promise.resolve(pointer)), () => {});
      throw Object.assign(new Error("S3 has not answered yet"), { name: "TimeoutError" });
    };
    entry.read = (held ? Promise.race([fresh, sleep(PATIENCE_MS).then(late)]) : fresh).catch(async (error) => {
      const old = await held?.read.catch(() => undefined);
      const status = error.$metadata?.httpStatusCode;
      if (old && !FINAL.includes(error.name) && status !== 403 && status !== 401) {
        entry.goodUntil = performance.now() + 5000;
        return old;
      }
      this.#pointers.delete(tenant);
      throw error;
    });
    this.#pointers.set(tenant, entry);
    if (this.#pointers.size > POINTERS_KEPT) this.#pointers.delete(this.#pointers.keys().next().value);
    return entry.read;
  }

  async #newerPointer(tenant, seen) {
    const held = await this.#pointers.get(tenant)?.read.catch(() => undefined);
    if (held === seen) this.#pointers.delete(tenant);
    return this.#pointer(tenant);
  }

  async #readPointer(tenant) {
    const Bucket = this.bucket ?? this.#routes.models_bucket;
    if (!Bucket) throw new Error("these routes name no models bucket: give the fleet's account");
    const reply = await this.s3.send(new GetObjectCommand({ Bucket, Key: `catalog/${tenant}.json` }), inTime());
    const pointer = JSON.parse(await reply.Body.transformToString());
    if (pointer?.tenant === tenant && pointer.removed_at && !("target_model" in pointer)) {
      throw Object.assign(new Error(`${tenant} was removed at ${pointer.removed_at}`), { name: "RemovedError" });
    }
    const target = pointer?.target_model;
    const name = typeof target === "string" && target.startsWith(`${tenant}/`) ? target.slice(tenant.length + 1) : "";
    const sound = /^[!-.0-~][ -.0-~]{0,900}$/.test(name) && name !== "." && name !== "..";
    if (pointer?.tenant !== tenant || typeof pointer.version !== "string" || !pointer.version || !sound) {
      throw new Error(`the pointer of ${tenant} names ${JSON.stringify(target ?? null).slice(0, 80)}`);
    }
    return pointer;
  }
}

function isRoutes(routes) {
  const object = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const hosted = (tier) => object(tier) && ["multi-model", "dedicated"].includes(tier.hosting);
  const ttl = routes.ttl_seconds ?? DEFAULT_TTL_SECONDS;
  return (
    object(routes.tiers) &&
    Object.values(routes.tiers).every(hosted) &&
    Object.hasOwn(routes.tiers, routes.default_tier) &&
    object(routes.tenants) &&
    Object.values(routes.tenants).every((own) => object(own) && Object.hasOwn(routes.tiers, own.tier)) &&
    Number.isInteger(ttl) && ttl >= 1 && ttl <= 86_400
  );
}

function routeOf(routes, tenant) {
  const own = tenant !== null && Object.hasOwn(routes.tenants, tenant) ? routes.tenants[tenant] : undefined;
  const name = own?.tier ?? routes.default_tier;
  const tier = routes.tiers[name];
  const endpoint = own?.endpoint ?? tier.endpoint;
  if (!endpoint) throw new Error(`tier ${name} has no endpoint for a tenant that is not listed`);
  return { tier: name, endpoint, shared: tier.hosting === "multi-model", version: own?.model_version ?? null };
}

export function scores(text) {
  if (!/^\s*[[{]/.test(text)) return text.trim().split(/[,\n]/).map(number); // 6
  const document = JSON.parse(text);
  const list = Array.isArray(document) ? document : document.predictions;
  if (!Array.isArray(list)) throw new Error("the reply has no list of predictions");
  const rows = list.map((score) => row(score?.score ?? score));
  if (new Set(rows.map((scores) => scores.length)).size > 1) throw new Error("the rows differ in their numbers of scores");
  return rows;
}

function row(value) {
  return Array.isArray(value) && value.length > 1 ? value.map(number) : number(value);
}

function number(value) {
  const [only] = Array.isArray(value) && value.length === 1 ? value : [value];
  const read = ["number", "string"].includes(typeof only) && only !== "" ? Number(only) : NaN;
  if (Number.isNaN(read)) throw new Error("the reply holds something else than scores per row");
  return read;
}

function kindOf(error) {
  const message = String(error.OriginalMessage ?? error.message ?? "");
  switch (error.name) {
    case "ModelNotReadyException":
      return "loading";
    case "ThrottlingException":
    case "ServiceUnavailable":
    case "InternalFailure":
    case "SlowDown":
      return "throttled";
    case "InternalDependencyException":
      return "dependency";
    case "ModelError":
      if (error.OriginalStatusCode === 507) return "busy";
      return error.OriginalStatusCode === 503 && !/prediction failed/i.test(message) ? "busy" : "final";
    case "ValidationError":
      if (/failed to download model data|could not find model/i.test(message)) return "missing-archive";
      return /endpoint.*(not found|could not find)|could not find.*endpoint/i.test(message) ? "unknown-endpoint" : "final";
    case "TimeoutError":
    case "AbortError":
      return "timeout";
    default:
      if (CONNECTION.includes(error.code)) return "connection";
      return error.$metadata?.httpStatusCode >= 500 || error.$metadata?.httpStatusCode === 429 ? "throttled" : "final";
  }
}

async function pause(error, kind, failures, deadline) {
  failures[kind] = (failures[kind] ?? 0) + 1;
  if (failures[kind] >= (ATTEMPTS[kind] ?? 1)) throw error;
  const ceiling = Math.min(LONGEST_PAUSE_MS, (kind === "loading" ? 500 : 50) * 2 ** (failures[kind] - 1));
  const milliseconds = (ceiling * (1 + Math.random())) / 2;
  if (performance.now() + milliseconds >= deadline) throw error;
  await sleep(milliseconds);
}

/** Without a length, a complete body cannot be told from a truncated one. */
function framed(next) {
  return async (request) => {
    const result = await next(request);
    const { statusCode, headers } = result.response;
    if (statusCode < 300 && !("content-length" in headers) && !("transfer-encoding" in headers)) {
      throw Object.assign(new Error("the reply has neither a Content-Length nor chunks"), { code: "ECONNRESET" });
    }
    return result;
  };
}

function inTime() {
  return { abortSignal: AbortSignal.timeout(LOOKUP_MS) };
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function handler(requestTimeout) {
  const sockets = { maxSockets: MOST_SOCKETS };
  return { connectionTimeout: 3000, requestTimeout, throwOnRequestTimeout: true, httpAgent: sockets, httpsAgent: sockets };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [options, tenant, body] = process.argv.slice(2);
  const caller = new FleetCaller(JSON.parse(options));
  if (tenant) console.log(JSON.stringify(await caller.invoke(tenant, body)));
  else {
    for await (const line of createInterface({ input: process.stdin })) {
      const { id, tenant, body } = JSON.parse(line);
      caller
        .invoke(tenant, body)
        .then((reply) => console.log(JSON.stringify({ id, tenant, body, ...reply, ...caller.counts })))
        .catch((error) => console.log(JSON.stringify({ id, tenant, body, error: `${error.name}: ${error.message}` })));
    }
  }
}
