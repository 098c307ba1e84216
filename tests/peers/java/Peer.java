import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.net.ssl.*;

/** A TLS server and client on JSSE; it takes the same arguments as the other peer programs. */
public final class Peer {
    static final String REQUEST = "GET / HTTP/1.1\r\nHost: server.tlsight.test\r\nConnection: close\r\n\r\n";
    static final String RESPONSE = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n"
        + "Connection: close\r\n\r\nhello\n";

    static final Map<String, String> A = new HashMap<>();

    static java.security.cert.Certificate[] chain(String file) throws Exception {
        try (InputStream in = new FileInputStream(file)) {
            return CertificateFactory.getInstance("X.509").generateCertificates(in)
                .toArray(new java.security.cert.Certificate[0]);
        }
    }

    static PrivateKey key(String file, String algorithm) throws Exception {
        String pem = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        return KeyFactory.getInstance(algorithm)
            .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    }

    static SSLContext context() throws Exception {
        KeyStore trust = KeyStore.getInstance("PKCS12");
        trust.load(null, null);
        trust.setCertificateEntry("ca", chain(A.get("ca"))[0]);
        TrustManagerFactory tmf = TrustManagerFactory.getInstance("PKIX");
        tmf.init(trust);
        KeyManager[] keys = null;
        if (A.containsKey("cert")) {
            java.security.cert.Certificate[] chain = chain(A.get("cert"));
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            store.setKeyEntry("me", key(A.get("key"), chain[0].getPublicKey().getAlgorithm()), new char[0], chain);
            KeyManagerFactory kmf = KeyManagerFactory.getInstance("PKIX");
            kmf.init(store, new char[0]);
            keys = kmf.getKeyManagers();
        }
        SSLContext ctx = SSLContext.getInstance("TLS");
        ctx.init(keys, tmf.getTrustManagers(), null);
        return ctx;
    }

    static String[] versions() {
        return A.containsKey("tls") ? new String[] {"TLSv" + A.get("tls")} : new String[] {"TLSv1.3", "TLSv1.2"};
    }

    static void serve(SSLSocket conn) {
        try (conn) {
            BufferedReader in = new BufferedReader(new InputStreamReader(conn.getInputStream()));
            String line;
            while ((line = in.readLine()) != null && !line.isEmpty()) { }
            conn.getOutputStream().write(RESPONSE.getBytes(StandardCharsets.US_ASCII));
        } catch (IOException e) {
            System.out.println("connection failed: " + e.getMessage());
        }
    }

    static void server() throws Exception {
        SSLServerSocket l = (SSLServerSocket) context().getServerSocketFactory().createServerSocket(
            Integer.parseInt(A.get("port")), 64, InetAddress.getByName(A.getOrDefault("address", "0.0.0.0")));
        l.setEnabledProtocols(versions());
        String ask = A.getOrDefault("ask", "none");
        if (ask.equals("optional")) l.setWantClientAuth(true);
        if (ask.equals("require")) l.setNeedClientAuth(true);
        if (A.containsKey("alpn")) {
            SSLParameters p = l.getSSLParameters();
            p.setApplicationProtocols(A.get("alpn").split(","));
            l.setSSLParameters(p);
        }
        System.out.println("listening");
        while (true) {
            SSLSocket conn = (SSLSocket) l.accept();
            Thread t = new Thread(() -> serve(conn));
            t.setDaemon(true);
            t.start();
        }
    }

    static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') b.append('\\').append(c);
            else if (c < 32) b.append(String.format("\\u%04x", (int) c));
            else b.append(c);
        }
        return b.append('"').toString();
    }

    static String once(SSLContext ctx) throws Exception {
        Socket raw = new Socket(InetAddress.getByName(A.get("address")), Integer.parseInt(A.get("port")));
        SSLSocketFactory f = ctx.getSocketFactory();
        String name = A.get("name");
        try (SSLSocket conn = (SSLSocket) f.createSocket(raw, name == null ? A.get("address") : name, raw.getPort(), true)) {
            SSLParameters p = conn.getSSLParameters();
            p.setProtocols(versions());
            if (name != null) {
                p.setServerNames(List.of(new SNIHostName(name)));
                p.setEndpointIdentificationAlgorithm("HTTPS");
            }
            if (A.containsKey("alpn")) p.setApplicationProtocols(A.get("alpn").split(","));
            conn.setSSLParameters(p);
            conn.startHandshake();
            SSLSession s = conn.getSession();
            conn.getOutputStream().write(REQUEST.getBytes(StandardCharsets.US_ASCII));
            String body = new String(conn.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
            String alpn = conn.getApplicationProtocol();
            return "{\"version\":" + quote(s.getProtocol().replace("TLSv", "")) + ",\"cipher\":" + quote(s.getCipherSuite())
                + ",\"alpn\":" + (alpn == null || alpn.isEmpty() ? "null" : quote(alpn))
                + ",\"body\":" + quote(body) + "}";
        }
    }

    public static void main(String[] args) throws Exception {
        for (int i = 1; i + 1 < args.length; i += 2) A.put(args[i].substring(2), args[i + 1]);
        if (args[0].equals("server")) {
            server();
            return;
        }
        SSLContext ctx = context();
        for (int i = Integer.parseInt(A.getOrDefault("times", "1")); i > 0; i--) {
            String line;
            try {
                line = once(ctx);
            } catch (IOException e) {
                line = "{\"error\":" + quote(String.valueOf(e.getMessage())) + "}";
            }
            System.out.println(line);
        }
    }
}
