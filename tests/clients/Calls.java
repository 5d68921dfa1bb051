import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.Base64;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** Java's clients: `java Calls CLIENT PROTOCOL`, with the commands that `run` describes on standard input. */
public class Calls {
    record Command(String verb, String url, Map<String, String> fields, int size) {}

    record Result(int status, int size, String text) {}

    interface Client {
        Result run(Command command) throws Exception;
    }

    static String protocol;
    static TrustManagerFactory trust;

    public static void main(String[] arguments) throws Exception {
        protocol = arguments[1];
        // Otherwise the slow start of grpc-java's resolver asks a name server for each service.
        System.setProperty("java.net.preferIPv4Stack", "true");
        trust();
        Client client = switch (arguments[0]) {
            case "jdk" -> new Jdk();
            case "okhttp" -> new OkHttp();
            case "apache" -> new Apache();
            case "apache-async" -> new ApacheAsync();
            default -> new Grpc();
        };
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] words = line.split("\t");
            var fields = fields(words[2], words[3], words[4]);
            String printed;
            try {
                var result = client.run(new Command(words[0], words[1], fields, Integer.parseInt(words[5])));
                printed = result.status + "\t" + result.size + "\t" + result.text.replaceAll("\\s+", " ");
            } catch (Exception error) {
                printed = "error\t0\t" + error.toString().replaceAll("\\s+", " ");
            }
            System.out.println(printed);
        }
        System.exit(0);
    }

    static void trust() throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (var file = new FileInputStream(System.getenv("CLIENTS_CA"))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
    }

    static SSLContext tls() throws Exception {
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    static Map<String, String> fields(String kind, String user, String token) {
        var fields = new LinkedHashMap<String, String>();
        if (kind.equals("basic")) {
            var pair = (user + ":" + token).getBytes(StandardCharsets.UTF_8);
            fields.put("Authorization", "Basic " + Base64.getEncoder().encodeToString(pair));
        } else if (kind.equals("headers")) {
            fields.put("X-Auth-Name", user.split("@")[0]);
            fields.put("X-Auth-Realm", user.split("@")[1]);
            fields.put("X-Auth-Token", token);
        }
        return fields;
    }

    static byte[] xs(int size) {
        var bytes = new byte[size];
        Arrays.fill(bytes, (byte) 'x');
        return bytes;
    }

    static Result answer(int status, byte[] body) {
        int length = Math.min(body.length, 200);
        return new Result(status, body.length, new String(body, 0, length, StandardCharsets.UTF_8));
    }

    /** Reads to the end. The text is the time between the first and the last piece in milliseconds. */
    static Result timed(int status, InputStream body) throws Exception {
        var buffer = new byte[1000];
        long first = 0, last = 0;
        int size = 0;
        for (int read; (read = body.read(buffer)) > 0; size += read) {
            last = System.nanoTime();
            first = first == 0 ? last : first;
        }
        return new Result(status, size, Long.toString((last - first) / 1_000_000));
    }

    static Result none() {
        return new Result(0, 0, "");
    }

    /** java.net.http. Without TLS it asks for an upgrade to h2c in an HTTP/1.1 request. */
    static class Jdk implements Client {
        final java.net.http.HttpClient client;
        InputStream held;

        Jdk() throws Exception {
            client = java.net.http.HttpClient.newBuilder().sslContext(tls())
                .followRedirects(java.net.http.HttpClient.Redirect.NORMAL).build();
        }

        public Result run(Command command) throws Exception {
            if (command.verb.equals("close")) {
                held.close();
                return none();
            }
            var builder = HttpRequest.newBuilder(URI.create(command.url));
            command.fields.forEach(builder::header);
            if (command.verb.equals("post")) {
                builder.POST(HttpRequest.BodyPublishers.ofByteArray(xs(command.size)));
            }
            var response = client.send(builder.build(), HttpResponse.BodyHandlers.ofInputStream());
            var body = response.body();
            switch (command.verb) {
                case "open":
                    held = body;
                    held.read();
                    return new Result(response.statusCode(), 0, "");
                case "slow":
                    return timed(response.statusCode(), body);
                default:
                    return answer(response.statusCode(), body.readAllBytes());
            }
        }
    }

    static class OkHttp implements Client {
        final okhttp3.OkHttpClient client;
        okhttp3.Response held;

        OkHttp() throws Exception {
            var builder = new okhttp3.OkHttpClient.Builder().readTimeout(30, TimeUnit.SECONDS)
                .writeTimeout(30, TimeUnit.SECONDS)
                .sslSocketFactory(tls().getSocketFactory(), (X509TrustManager) trust.getTrustManagers()[0]);
            if (protocol.equals("h2c")) {
                builder.protocols(List.of(okhttp3.Protocol.H2_PRIOR_KNOWLEDGE));
            }
            client = builder.build();
        }

        public Result run(Command command) throws Exception {
            if (command.verb.equals("close")) {
                held.close();
                return none();
            }
            var builder = new okhttp3.Request.Builder().url(command.url);
            command.fields.forEach(builder::header);
            if (command.verb.equals("post")) {
                builder.post(okhttp3.RequestBody.create(null, xs(command.size)));
            }
            var call = client.newCall(builder.build());
            if (command.verb.equals("open")) {
                held = call.execute();
                held.body().byteStream().read();
                return new Result(held.code(), 0, "");
            }
            try (var response = call.execute()) {
                return command.verb.equals("slow")
                    ? timed(response.code(), response.body().byteStream())
                    : answer(response.code(), response.body().bytes());
            }
        }
    }

    /** Apache HttpClient 5, with its classic interface. */
    static class Apache implements Client {
        final org.apache.hc.client5.http.impl.classic.CloseableHttpClient client;
        org.apache.hc.client5.http.impl.classic.CloseableHttpResponse held;
        org.apache.hc.client5.http.classic.methods.HttpUriRequestBase request;

        Apache() throws Exception {
            var connections =
                org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder.create()
                    .setSSLSocketFactory(
                        new org.apache.hc.client5.http.ssl.SSLConnectionSocketFactory(tls()))
                    .build();
            client = org.apache.hc.client5.http.impl.classic.HttpClients.custom()
                .setConnectionManager(connections).build();
        }

        public Result run(Command command) throws Exception {
            if (command.verb.equals("close")) {
                request.abort();
                held.close();
                return none();
            }
            var method = command.verb.equals("post") ? "POST" : "GET";
            request = new org.apache.hc.client5.http.classic.methods.HttpUriRequestBase(
                method, URI.create(command.url));
            command.fields.forEach(request::setHeader);
            if (method.equals("POST")) {
                request.setEntity(new org.apache.hc.core5.http.io.entity.ByteArrayEntity(
                    xs(command.size), org.apache.hc.core5.http.ContentType.APPLICATION_OCTET_STREAM));
            }
            var response = client.execute(request);
            if (command.verb.equals("open")) {
                held = response;
                held.getEntity().getContent().read();
                return new Result(held.getCode(), 0, "");
            }
            try (response) {
                var body = response.getEntity().getContent();
                return command.verb.equals("slow")
                    ? timed(response.getCode(), body)
                    : answer(response.getCode(), body.readAllBytes());
            }
        }
    }

    static class ApacheAsync implements Client {
        final org.apache.hc.client5.http.impl.async.CloseableHttpAsyncClient client;
        Future<?> held;

        ApacheAsync() throws Exception {
            var strategy = org.apache.hc.client5.http.ssl.ClientTlsStrategyBuilder.create()
                .setSslContext(tls()).build();
            var connections =
                org.apache.hc.client5.http.impl.nio.PoolingAsyncClientConnectionManagerBuilder.create()
                    .setTlsStrategy(strategy).build();
            var version = switch (protocol) {
                case "h2c" -> org.apache.hc.core5.http2.HttpVersionPolicy.FORCE_HTTP_2;
                case "tls" -> org.apache.hc.core5.http2.HttpVersionPolicy.NEGOTIATE;
                default -> org.apache.hc.core5.http2.HttpVersionPolicy.FORCE_HTTP_1;
            };
            client = org.apache.hc.client5.http.impl.async.HttpAsyncClients.custom()
                .setConnectionManager(connections).setVersionPolicy(version).build();
            client.start();
        }

        /** Counts what comes, with the times of the first and the last piece. */
        static class Body extends org.apache.hc.core5.http.nio.entity.AbstractBinDataConsumer
            implements org.apache.hc.core5.http.nio.AsyncEntityConsumer<byte[]> {
            final java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();
            final CompletableFuture<Integer> begun = new CompletableFuture<>();
            org.apache.hc.core5.concurrent.FutureCallback<byte[]> done;
            boolean holds;
            long first, last;

            protected int capacityIncrement() {
                return holds ? 0 : 65536;
            }

            protected void data(ByteBuffer piece, boolean isLast) {
                last = System.nanoTime();
                first = first == 0 ? last : first;
                var read = new byte[piece.remaining()];
                piece.get(read);
                bytes.writeBytes(read);
                begun.complete(0);
            }

            protected void completed() {
                done.completed(bytes.toByteArray());
            }

            public void streamStart(org.apache.hc.core5.http.EntityDetails details,
                org.apache.hc.core5.concurrent.FutureCallback<byte[]> done) {
                this.done = done;
            }

            public void failed(Exception error) {
                begun.completeExceptionally(error);
            }

            public byte[] getContent() {
                return bytes.toByteArray();
            }

            public void releaseResources() {}
        }

        public Result run(Command command) throws Exception {
            if (command.verb.equals("close")) {
                held.cancel(true);
                return none();
            }
            var post = command.verb.equals("post");
            var builder = post
                ? org.apache.hc.core5.http.nio.support.AsyncRequestBuilder.post(command.url)
                : org.apache.hc.core5.http.nio.support.AsyncRequestBuilder.get(command.url);
            command.fields.forEach(builder::setHeader);
            if (post) {
                builder.setEntity(
                    xs(command.size), org.apache.hc.core5.http.ContentType.APPLICATION_OCTET_STREAM);
            }
            var body = new Body();
            body.holds = command.verb.equals("open");
            var consumer = new org.apache.hc.core5.http.nio.support.BasicResponseConsumer<>(body);
            var future = client.execute(builder.build(), consumer, null);
            if (body.holds) {
                held = future;
                body.begun.get(30, TimeUnit.SECONDS);
                return new Result(200, 0, "");
            }
            var status = future.get(60, TimeUnit.SECONDS).getHead().getCode();
            return command.verb.equals("slow")
                ? new Result(status, body.bytes.size(), Long.toString((body.last - body.first) / 1_000_000))
                : answer(status, body.getContent());
        }
    }

    static class Grpc implements Client {
        io.grpc.ManagedChannel channel;
        io.grpc.Context.CancellableContext held;

        static final io.grpc.MethodDescriptor.Marshaller<byte[]> RAW =
            new io.grpc.MethodDescriptor.Marshaller<>() {
                public InputStream stream(byte[] message) {
                    return new java.io.ByteArrayInputStream(message);
                }

                public byte[] parse(InputStream stream) {
                    try {
                        return stream.readAllBytes();
                    } catch (java.io.IOException error) {
                        throw new RuntimeException(error);
                    }
                }
            };

        static io.grpc.MethodDescriptor<byte[], byte[]> method(
            String name, io.grpc.MethodDescriptor.MethodType type) {
            return io.grpc.MethodDescriptor.newBuilder(RAW, RAW)
                .setFullMethodName("calls.Calls/" + name).setType(type).build();
        }

        public Result run(Command command) throws Exception {
            if (command.verb.equals("close")) {
                held.cancel(null);
                return none();
            }
            if (channel == null) {
                var uri = URI.create(command.url);
                var builder = io.grpc.netty.NettyChannelBuilder.forAddress(uri.getHost(), uri.getPort());
                if (protocol.equals("tls")) {
                    // OpenSSL, because Debian's Netty finds no ALPN in Java 17.
                    builder.sslContext(io.grpc.netty.GrpcSslContexts.configure(
                        io.netty.handler.ssl.SslContextBuilder.forClient(),
                        io.netty.handler.ssl.SslProvider.OPENSSL).trustManager(trust).build());
                } else {
                    builder.usePlaintext();
                }
                channel = builder.build();
            }
            var metadata = new io.grpc.Metadata();
            command.fields.forEach((name, value) -> metadata.put(
                io.grpc.Metadata.Key.of(name.toLowerCase(), io.grpc.Metadata.ASCII_STRING_MARSHALLER), value));
            var with = io.grpc.ClientInterceptors.intercept(
                channel, io.grpc.stub.MetadataUtils.newAttachHeadersInterceptor(metadata));
            var options = io.grpc.CallOptions.DEFAULT.withDeadlineAfter(60, TimeUnit.SECONDS);
            try {
                return call(with, options, command);
            } catch (io.grpc.StatusRuntimeException error) {
                var status = error.getStatus();
                return new Result(status.getCode().value(), 0, "" + status.getDescription());
            }
        }

        Result call(io.grpc.Channel channel, io.grpc.CallOptions options, Command command) throws Exception {
            var argument = Integer.toString(command.size).getBytes();
            if (command.verb.equals("post")) {
                return upload(channel, options, command.size);
            }
            if (command.verb.equals("get") && command.size == 0) {
                var method = method("Hello", io.grpc.MethodDescriptor.MethodType.UNARY);
                return answer(0, io.grpc.stub.ClientCalls.blockingUnaryCall(channel, method, options, argument));
            }
            var name = Map.of("get", "Bytes", "slow", "Slow", "open", "Flood").get(command.verb);
            var method = method(name, io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING);
            held = io.grpc.Context.current().withCancellation();
            Iterator<byte[]> parts = held.call(
                () -> io.grpc.stub.ClientCalls.blockingServerStreamingCall(channel, method, options, argument));
            if (command.verb.equals("open")) {
                parts.next();
                return none();
            }
            long first = 0, last = 0;
            int size = 0;
            while (parts.hasNext()) {
                size += parts.next().length;
                last = System.nanoTime();
                first = first == 0 ? last : first;
            }
            return new Result(0, size, Long.toString((last - first) / 1_000_000));
        }

        Result upload(io.grpc.Channel channel, io.grpc.CallOptions options, int size) throws Exception {
            var method = method("Count", io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING);
            var done = new CompletableFuture<Result>();
            var observer = new io.grpc.stub.ClientResponseObserver<byte[], byte[]>() {
                public void beforeStart(io.grpc.stub.ClientCallStreamObserver<byte[]> requests) {
                    var sent = new int[1];
                    requests.setOnReadyHandler(() -> {
                        while (requests.isReady() && sent[0] < size) {
                            var piece = Math.min(50_000, size - sent[0]);
                            requests.onNext(xs(piece));
                            sent[0] += piece;
                            if (sent[0] == size) {
                                requests.onCompleted();
                            }
                        }
                    });
                }

                public void onNext(byte[] reply) {
                    done.complete(answer(0, reply));
                }

                public void onError(Throwable error) {
                    var status = io.grpc.Status.fromThrowable(error);
                    done.complete(new Result(status.getCode().value(), 0, "" + status.getDescription()));
                }

                public void onCompleted() {}
            };
            io.grpc.stub.ClientCalls.asyncClientStreamingCall(channel.newCall(method, options), observer);
            return done.get(60, TimeUnit.SECONDS);
        }
    }
}
