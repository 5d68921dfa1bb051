// Node's clients: `node calls.mjs CLIENT PROTOCOL`, with the commands that `run` describes on standard input.

import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import readline from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(process.env.CLIENTS_NODE + "/");
const ca = fs.readFileSync(process.env.CLIENTS_CA);
const [client, protocol] = process.argv.slice(2);
const piece = Buffer.alloc(50000, "x");

function fieldsOf(kind, user, token) {
  const [name, realm] = user.split("@");
  if (kind === "basic") return { authorization: "Basic " + Buffer.from(`${user}:${token}`).toString("base64") };
  if (kind === "headers") return { "x-auth-name": name, "x-auth-realm": realm, "x-auth-token": token };
  return {};
}

const answer = (status, body) => [status, body.length, body.subarray(0, 200).toString()];

// Reads a stream to its end. Returns its bytes, and the time between its first and last piece.
async function drained(stream) {
  const parts = [];
  const times = [];
  for await (const part of stream) {
    parts.push(Buffer.from(part));
    times.push(performance.now());
  }
  return [Buffer.concat(parts), Math.round(times.at(-1) - times[0] || 0)];
}

// A client that has `start(method, url, fields, body)`, which resolves to { status, stream, abort }.
function streaming(start) {
  let held;
  return {
    async get(url, fields) {
      const { status, stream } = await start("GET", url, fields);
      return answer(status, (await drained(stream))[0]);
    },
    async post(url, fields, size) {
      const { status, stream } = await start("POST", url, fields, Buffer.alloc(size, "x"));
      return answer(status, (await drained(stream))[0]);
    },
    async slow(url, fields) {
      const { status, stream } = await start("GET", url, fields);
      const [body, gap] = await drained(stream);
      return [status, body.length, gap];
    },
    async open(url, fields) {
      held = await start("GET", url, fields);
      // One piece is read, and then nothing.
      await new Promise((resolve) => held.stream.once("readable", resolve));
      held.stream.read(1);
      return [held.status, 0, ""];
    },
    async close() {
      held.stream.on("error", () => {});
      held.abort();
      return [0, 0, ""];
    },
  };
}

function core() {
  const agents = { "http:": new http.Agent({ keepAlive: true }), "https:": new https.Agent({ keepAlive: true, ca }) };
  return streaming((method, url, fields, body) => new Promise((resolve, reject) => {
    const library = url.startsWith("https:") ? https : http;
    const agent = agents[new URL(url).protocol];
    const request = library.request(url, { method, headers: fields, agent }, (stream) =>
      resolve({ status: stream.statusCode, stream, abort: () => request.destroy() }));
    request.on("error", reject);
    request.end(body);
  }));
}

function core2() {
  let session;
  return streaming((method, url, fields, body) => new Promise((resolve, reject) => {
    const { origin, pathname, search } = new URL(url);
    if (!session || session.closed || session.destroyed) {
      session = http2.connect(origin, { ca });
      session.on("error", reject);
    }
    const stream = session.request({ ":method": method, ":path": pathname + search, ...fields });
    stream.on("error", reject);
    stream.on("response", (head) =>
      resolve({ status: head[":status"], stream, abort: () => stream.close(http2.constants.NGHTTP2_CANCEL) }));
    stream.end(body);
  }));
}

function undici() {
  const { Agent, H2CClient, request } = require("undici");
  let dispatcher = new Agent({ connect: { ca }, allowH2: protocol === "tls" });
  let h2c;
  return streaming(async (method, url, headers, body) => {
    if (protocol === "h2c") dispatcher = h2c ??= new H2CClient(new URL(url).origin);
    const abort = new AbortController();
    const response = await request(url, { method, headers, body, dispatcher, signal: abort.signal });
    return { status: response.statusCode, stream: response.body, abort: () => abort.abort() };
  });
}

// The function of Node itself, with the agent of undici for its certificate.
function fetched() {
  const { Agent, fetch } = require("undici");
  const { Readable } = require("node:stream");
  const dispatcher = new Agent({ connect: { ca }, allowH2: protocol === "tls" });
  return streaming(async (method, url, headers, body) => {
    const abort = new AbortController();
    const response = await fetch(url, { method, headers, body, dispatcher, signal: abort.signal });
    return { status: response.status, stream: Readable.fromWeb(response.body), abort: () => abort.abort() };
  });
}

function axios() {
  const library = require("axios");
  const instance = library.create({
    httpAgent: new http.Agent({ keepAlive: true }), httpsAgent: new https.Agent({ keepAlive: true, ca }),
    responseType: "stream", validateStatus: () => true, proxy: false,
  });
  return streaming(async (method, url, headers, data) => {
    const abort = new AbortController();
    const response = await instance.request({ method, url, headers, data, signal: abort.signal });
    return { status: response.status, stream: response.data, abort: () => abort.abort() };
  });
}

async function got() {
  const { default: library } = await import(require.resolve("got"));
  const instance = library.extend({
    http2: protocol === "tls", https: { certificateAuthority: ca }, throwHttpErrors: false,
    agent: protocol === "tls" ? undefined : { http: new http.Agent({ keepAlive: true }) },
  });
  return streaming((method, url, headers, body) => new Promise((resolve, reject) => {
    const stream = instance.stream(url, { method, headers, body });
    stream.on("error", reject);
    stream.on("response", (response) =>
      resolve({ status: response.statusCode, stream, abort: () => stream.destroy() }));
  }));
}

function grpc() {
  const library = require("@grpc/grpc-js");
  const same = (bytes) => bytes;
  const names = { get: "Hello", slow: "Slow", open: "Flood" };
  let stub;
  let held;
  const prepared = (url, fields) => {
    const credentials = protocol === "tls" ? library.credentials.createSsl(ca) : library.credentials.createInsecure();
    stub ??= new library.Client(new URL(url).host, credentials);
    const metadata = new library.Metadata();
    for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
    return metadata;
  };
  const replied = (resolve) => (error, reply) =>
    resolve(error ? [error.code, 0, error.details] : answer(0, reply));
  const streamed = (name, url, fields, argument = "") => stub.makeServerStreamRequest(
    "/calls.Calls/" + name, same, same, Buffer.from(argument), prepared(url, fields));
  return {
    async get(url, fields, size) {
      const metadata = prepared(url, fields);
      if (size) {
        const [body] = await drained(streamed("Bytes", url, fields, String(size)));
        return [0, body.length, ""];
      }
      return new Promise((resolve) =>
        stub.makeUnaryRequest("/calls.Calls/Hello", same, same, Buffer.alloc(0), metadata, replied(resolve)));
    },
    post(url, fields, size) {
      const metadata = prepared(url, fields);
      return new Promise((resolve) => {
        const call = stub.makeClientStreamRequest("/calls.Calls/Count", same, same, metadata, replied(resolve));
        (async () => {
          for (let at = 0; at < size; at += piece.length) {
            const more = call.write(piece.subarray(0, size - at));
            if (!more) await new Promise((next) => call.once("drain", next));
          }
          call.end();
        })();
      });
    },
    async slow(url, fields) {
      prepared(url, fields);
      const [body, gap] = await drained(streamed(names.slow, url, fields));
      return [0, body.length, gap];
    },
    async open(url, fields) {
      prepared(url, fields);
      held = streamed(names.open, url, fields);
      held.on("error", () => {});
      await new Promise((resolve) => held.once("readable", resolve));
      held.read();
      return [0, 0, ""];
    },
    async close() {
      held.cancel();
      return [0, 0, ""];
    },
  };
}

function ws() {
  const WebSocket = require("ws");
  let socket;
  const connected = (url, fields) => new Promise((resolve, reject) => {
    if (socket && Object.keys(fields).length) return resolve();
    const opened = new WebSocket(url, { headers: fields, ca, perMessageDeflate: false, maxPayload: 1 << 26 });
    opened.on("open", () => { socket = opened; resolve(); });
    opened.on("unexpected-response", (_, response) => resolve([response.statusCode, 0, ""]));
    opened.on("error", reject);
  });
  const replied = () => new Promise((resolve) => socket.once("message", resolve));
  const asked = async (url, fields, message) => {
    const denied = await connected(url, fields);
    if (denied) return denied;
    const reply = replied();
    socket.send(message);
    return answer(101, await reply);
  };
  return {
    get: (url, fields, size) => asked(url, fields, size ? `bytes ${size}` : "hello"),
    post: (url, fields, size) => asked(url, fields, Buffer.alloc(size, "x")),
    async slow(url, fields) {
      await connected(url, fields);
      socket.send("slow");
      const times = [];
      let size = 0;
      for (let number = 0; number < 10; number++) {
        size += (await replied()).length;
        times.push(performance.now());
      }
      return [101, size, Math.round(times.at(-1) - times[0])];
    },
    async open(url, fields) {
      await connected(url, fields);
      const reply = replied();
      socket.send("flood");
      await reply;
      socket.pause();
      return [101, 0, ""];
    },
    async close() {
      socket.terminate();
      socket = undefined;
      return [0, 0, ""];
    },
  };
}

const clients = { http: core, http2: core2, undici, fetch: fetched, axios, got, "grpc-js": grpc, ws };
const calls = await clients[client]();
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [verb, url, kind, user, token, size] = line.split("\t");
  let result;
  try {
    result = await calls[verb](url, fieldsOf(kind, user, token), Number(size));
  } catch (error) {
    result = ["error", 0, `${error.name}: ${error.message} ${error.cause ?? ""}`];
  }
  console.log(result.map((it) => String(it).replace(/\s+/g, " ")).join("\t"));
}
process.exit();
