import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { Agent, request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeInCampaigns } from "../../support/in-campaigns.ts";
import { makeNode, makePods, makeService } from "../../support/kubernetes/objects.ts";
import { HangingServer, NotKubernetes } from "../../support/kubernetes/odd-servers.ts";
import { SimulatedKubelet } from "../../support/kubernetes/simulated-kubelet.ts";
import { TestEtcd } from "../../support/kubernetes/test-etcd.ts";
import { TestKubernetes } from "../../support/kubernetes/test-kubernetes.ts";
import { machineAddress, TestPrometheus } from "../../support/kubernetes/test-prometheus.ts";
import { NetworkNamespace } from "../../support/network-namespace.ts";
import { until } from "../../support/until.ts";

describeInCampaigns("what stands around a Kubernetes cluster", ["kubernetes", "prometheus"], () => {
  let cluster: TestKubernetes;

  beforeAll(async () => {
    cluster = await TestKubernetes.start();
  });
  afterAll(() => cluster?.stop());

  it("the API server fetches logs from the simulated kubelet, and follows them", async () => {
    await using kubelet = await SimulatedKubelet.start();
    await makeNode(cluster, "node-1", { addresses: [kubelet.address], kubeletPort: kubelet.port });
    await makePods(cluster, 2, { nodeName: "node-1", phase: "Running" });
    const place = { namespace: "default", pod: "pod-0", container: "main" };
    const log = "/api/v1/namespaces/default/pods/pod-0/log";
    for (const text of ["zero", "one"]) kubelet.write(place, text);
    kubelet.restart(place);
    for (const text of ["two", "three", "four"]) kubelet.write(place, text);
    expect((await cluster.request("GET", `${log}?tailLines=2`)).body).toBe("three\nfour\n");
    expect((await cluster.request("GET", `${log}?previous=true&timestamps=true`)).body).toMatch(/^20\S+Z zero\n20\S+Z one\n$/);
    const waiting = await cluster.request("GET", "/api/v1/namespaces/default/pods/pod-1/log");
    expect(waiting).toMatchObject({
      status: 400,
      body: { message: 'container "main" in pod "pod-1" is waiting to start: ContainerCreating' },
    });

    const following = cluster.request("GET", `${log}?follow=true&tailLines=1`);
    await until(() => kubelet.followers(place) === 1, "the follower");
    kubelet.write(place, "five");
    kubelet.end(place);
    expect((await following).body).toBe("four\nfive\n");
    await until(() => kubelet.followers(place) === 0, "the end of the follower");
  });

  it("the API server's proxy reaches Prometheus", async () => {
    await using prometheus = await TestPrometheus.start({ address: machineAddress(), pathPrefix: "/prom" });
    await cluster.kubectl(["create", "namespace", "monitoring"]);
    await makeService(cluster, { namespace: "monitoring", name: "prometheus", portName: "http-web", port: 9090, endpoint: prometheus });
    const path = "/api/v1/namespaces/monitoring/services/http:prometheus:http-web/proxy/prom/api/v1/status/config";
    expect((await cluster.request("GET", path)).body).toMatchObject({ status: "success", data: { yaml: expect.stringContaining("self") } });
  });
});

describeInCampaigns("a Kubernetes cluster on another host", ["kubernetes", "network-namespaces"], () => {
  let namespace: NetworkNamespace;
  let etcd: TestEtcd;
  let cluster: TestKubernetes;

  beforeAll(async () => {
    namespace = await NetworkNamespace.create(44);
    etcd = await TestEtcd.start({ namespace });
    cluster = await TestKubernetes.start({ etcd });
  });
  afterAll(async () => {
    await cluster?.stop();
    await etcd?.stop();
    await namespace?.remove();
  });

  it("goes on there while the cable is pulled; a watch hears nothing, and hears it all once the cable is back", async () => {
    const agent = new Agent({ connect: { ca: cluster.caPem } });
    const headers = { authorization: `Bearer ${cluster.adminToken}` };
    const watch = await request(`${cluster.url}/api/v1/namespaces?watch=true`, { dispatcher: agent, headers });
    let heard = "";
    watch.body.setEncoding("utf8").on("data", (text: string) => {
      heard += text;
    });
    watch.body.on("error", () => {});
    await until(() => heard.includes("kube-system"), "the watch");
    await namespace.cut();
    await cluster.kubectl(["create", "namespace", "in-the-dark"]);
    await delay(300);
    expect(heard).not.toContain("in-the-dark");
    await namespace.mend();
    await until(() => heard.includes("in-the-dark"), "the change");
    await agent.destroy();
  });
});

describe("odd servers", () => {
  const pageAt = async (url: string, ca = "") => {
    const agent = new Agent({ connect: { ca }, headersTimeout: 5_000, bodyTimeout: 5_000 });
    const { body } = await request(url, { dispatcher: agent }).catch(async (error) => {
      await agent.destroy();
      throw error;
    });
    return body.text().finally(() => agent.destroy());
  };

  it("hang before TLS, before an answer and within one", async () => {
    await using mute = await HangingServer.start("connection");
    const socket = connect(Number(new URL(mute.url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.write("anything");
    expect(await Promise.race([once(socket, "data"), delay(200, "nothing")])).toBe("nothing");
    expect([mute.taken, mute.open]).toEqual([1, 1]);
    socket.destroy();
    await until(() => mute.open === 0, "the end of the connection");

    for (const [after, expected] of [
      ["handshake", ""],
      ["headers", "HTTP/1.1 200 OK"],
    ] as const) {
      await using server = await HangingServer.start(after);
      const tls = connectTls({ port: Number(new URL(server.url).port), host: "127.0.0.1", ca: server.caPem });
      await once(tls, "secureConnect");
      let heard = "";
      tls.setEncoding("utf8").on("data", (text: string) => {
        heard += text;
      });
      tls.on("error", () => {});
      tls.write("GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
      await delay(200);
      expect(heard.slice(0, 15)).toBe(expected);
      expect(server.open).toBe(1);
      tls.destroy();
    }
  });

  it("answer what they are told, over TLS or without", async () => {
    await using page = await NotKubernetes.start();
    expect(await pageAt(`${page.url}/version`, page.caPem)).toContain("It works!");
    await using plain = await NotKubernetes.start({ tls: false, answer: (_request, response) => void response.end("plain") });
    expect(await pageAt(plain.url.replace("https", "http"))).toBe("plain");
    await expect(pageAt(plain.url)).rejects.toThrow("SSL routines");
  });
});
