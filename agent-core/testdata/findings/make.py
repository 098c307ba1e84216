#!/usr/bin/env python3
"""Records the handshakes of this directory: openssl's s_server and s_client with one certificate after the other that has
something wrong with it, and the nearest one that has not. Roots are written as DER. Dates are fixed: the tests say what
time it is; only OCSP responses bear the time at which they were made.

Needs openssl 3.0 or later. Usage: make.py; keys and all are made again."""
import importlib.util, os, subprocess, time

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("streams", os.path.join(HERE, "..", "streams", "make.py"))
streams = importlib.util.module_from_spec(spec)
spec.loader.exec_module(streams)
streams.HERE = HERE
run, W, Proxy = streams.run, streams.W, streams.Proxy

P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
P384 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]
P224 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"]
RSA = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
RSA1024 = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]
CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
SERVER = "subjectAltName=DNS:server.test\nextendedKeyUsage=serverAuth\n"
CLIENT = "subjectAltName=DNS:cart.test,URI:spiffe://tlsight.test/ns/shop/sa/cart\nextendedKeyUsage=clientAuth\n"


def key(name, kind):
    run("openssl", "genpkey", *kind, "-out", W(name + ".key"))


def certificate(name, issuer, extensions, dates=("20260501", "20260801"), kind=P256, subject=None, md="sha256", own_key=None):
    """Signed by `issuer`, by itself when that is its own name."""
    if own_key is None:
        key(name, kind)
    else:
        run("cp", W(own_key + ".key"), W(name + ".key"))
    subject = subject or f"/O=tlsight/CN={name}"
    run("openssl", "req", "-new", "-key", W(name + ".key"), "-subj", subject, "-out", W(name + ".csr"))
    for file, text in (
        ("index", ""),
        ("ext", extensions),
        ("ca.cnf", f"[ca]\ndefault_ca=c\n[c]\ndatabase={W('index')}\nnew_certs_dir={streams.WORK}\ndefault_md={md}\npolicy=p\n"
         "rand_serial=yes\nunique_subject=no\n[p]\norganizationName=optional\ncommonName=optional\n"),
    ):
        with open(W(file), "w") as f:
            f.write(text)
    by = ["-selfsign", "-keyfile", W(name + ".key")] if issuer == name else ["-cert", W(issuer + ".pem"), "-keyfile", W(issuer + ".key")]
    start, end = (d if d.endswith("Z") else d + "000000Z" for d in dates)
    run("openssl", "ca", "-batch", "-config", W("ca.cnf"), *by, "-in", W(name + ".csr"), "-startdate", start, "-enddate", end,
        "-extfile", W("ext"), "-notext", "-out", W(name + ".pem"))


def root(name, dates=("20200101", "20400101"), **kw):
    certificate(name, name, CA, dates, **kw)
    run("openssl", "x509", "-in", W(name + ".pem"), "-outform", "DER", "-out", os.path.join(HERE, name + ".der"))


def ended_roots():
    root("old_ca", ("20200101", "20260515"))
    # The same with a longer life.
    root("renewed_ca", subject="/O=tlsight/CN=old_ca", own_key="old_ca")
    certificate("by_old_ca", "old_ca", SERVER)


def certificates():
    root("ca")
    root("rsa_ca", kind=RSA)
    root("other")
    root("weak_ca", kind=RSA1024)
    # The same name as `ca`, another key.
    root("forged_ca", subject="/O=tlsight/CN=ca")
    ended_roots()
    long = ("20240101", "20300101")
    certificate("sub", "ca", CA, long)
    certificate("sub_old", "ca", CA, ("20200101", "20260515"), subject="/O=tlsight/CN=sub", own_key="sub")
    certificate("sub_older", "ca", CA, ("20200101", "20260101"), subject="/O=tlsight/CN=sub", own_key="sub")
    certificate("sub_client", "ca", CA + "extendedKeyUsage=clientAuth\n", long)
    certificate("sub_sha1", "rsa_ca", CA, long, kind=RSA, md="sha1")
    certificate("sub_1024", "rsa_ca", CA, long, kind=RSA1024)

    certificate("good", "ca", SERVER)
    certificate("newer", "ca", SERVER, ("20260520", "20260820"))
    certificate("expiring", "ca", SERVER, ("20260301", "20260621"))
    certificate("short_lived", "ca", SERVER, ("20260531120000Z", "20260601120000Z"))
    certificate("expired", "ca", SERVER, ("20260101", "20260501"))
    certificate("future", "ca", SERVER, ("20260701", "20261001"))
    certificate("untrusted", "other", SERVER)
    certificate("forged", "forged_ca", SERVER)
    certificate("self_signed", "self_signed", SERVER)
    certificate("other_name", "ca", "subjectAltName=DNS:other.test,DNS:*.server.test\nextendedKeyUsage=serverAuth\n")
    certificate("wildcard", "ca", "subjectAltName=DNS:*.server.test\nextendedKeyUsage=serverAuth\n")
    certificate("address", "ca", "subjectAltName=IP:192.0.2.9\nextendedKeyUsage=serverAuth\n")
    certificate("for_clients", "ca", "subjectAltName=DNS:server.test\nextendedKeyUsage=clientAuth\n")
    certificate("for_anything", "ca", "subjectAltName=DNS:server.test\nextendedKeyUsage=anyExtendedKeyUsage\n")
    certificate("authority", "ca", "subjectAltName=DNS:server.test\nbasicConstraints=critical,CA:TRUE\n")
    certificate("by_sub", "sub", SERVER)
    certificate("by_sub_client", "sub_client", SERVER)
    certificate("by_sub_sha1", "sub_sha1", SERVER)
    certificate("by_sub_1024", "sub_1024", SERVER)
    certificate("days_201", "ca", SERVER, ("20260401", "20261019"))
    certificate("days_200", "ca", SERVER, ("20260401", "20261017235959Z"))
    certificate("days_398", "ca", SERVER, ("20260301", "20270402235959Z"))
    certificate("rsa_1024", "ca", SERVER, kind=RSA1024)
    certificate("p224", "ca", SERVER, kind=P224)
    certificate("by_weak_ca", "weak_ca", SERVER)
    certificate("sha1", "rsa_ca", SERVER, md="sha1")
    certificate("sha256", "rsa_ca", SERVER)
    certificate("spiffe_server", "ca", "subjectAltName=URI:spiffe://tlsight.test/ns/shop/sa/db\nextendedKeyUsage=serverAuth,clientAuth\n")
    certificate("for_ocsp", "ca", SERVER, ("20260501", "20360501"))
    certificate("responder", "ca", "extendedKeyUsage=OCSPSigning\n", ("20260501", "20360501"))
    certificate("no_responder", "ca", "extendedKeyUsage=serverAuth\n", ("20260501", "20360501"))

    certificate("client", "ca", CLIENT)
    certificate("client_expired", "ca", CLIENT, ("20260101", "20260501"))
    certificate("client_for_servers", "ca", "subjectAltName=DNS:cart.test\nextendedKeyUsage=serverAuth\n")
    certificate("client_stranger", "other", "subjectAltName=DNS:cart.test\nextendedKeyUsage=clientAuth\n")


def ocsp(name, status, signer, days=None, about="for_ocsp"):
    serial = subprocess.run(["openssl", "x509", "-in", W(about + ".pem"), "-noout", "-serial"], check=True, capture_output=True,
                            text=True).stdout.strip().split("=")[1]
    with open(W("status_index"), "w") as f:
        revoked = "260515120000Z,keyCompromise" if status == "R" else ""
        f.write(f"{status}\t360501000000Z\t{revoked}\t{serial}\tunknown\t/O=tlsight/CN={about}\n")
    run("openssl", "ocsp", "-issuer", W("ca.pem"), "-cert", W(about + ".pem"), "-no_nonce", "-reqout", W("req"))
    validity = ["-ndays", str(days)] if days else ["-nmin", "1"]
    run("openssl", "ocsp", "-index", W("status_index"), "-CA", W("ca.pem"), "-rsigner", W(signer + ".pem"), "-rkey",
        W(signer + ".key"), "-reqin", W("req"), "-respout", W(name + ".ocsp"), *validity)


def responses():
    ocsp("ocsp_good", "V", "ca", 3650)
    ocsp("ocsp_delegated", "V", "responder", 3650)
    ocsp("ocsp_revoked", "R", "responder", 3650)
    ocsp("ocsp_brief", "V", "ca")
    ocsp("ocsp_by_nobody", "V", "no_responder", 3650)
    ocsp("ocsp_by_stranger", "V", "other", 3650)
    ocsp("ocsp_of_another", "V", "ca", 3650, about="good")
    # OCSPResponse { responseStatus tryLater }
    with open(W("ocsp_try_later.ocsp"), "wb") as f:
        f.write(bytes.fromhex("30030a0103"))


def handshake(name, cert, *server, chain=None, client=(), sni="server.test", version="-tls1_2"):
    port = streams.free_port()
    more = ["-cert_chain", W(chain + ".pem")] if chain else []
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", str(port), "-cert", W(cert + ".pem"), "-key", W(cert + ".key"), *more, "-rev", "-quiet",
         "-no_ticket", version, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", *server],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    streams.wait_port(port)
    proxy = Proxy(port)
    client = list(client)
    if "-cipher" not in client:
        client += ["-cipher", "DEFAULT@SECLEVEL=0"]
    streams.s_client(proxy.port, *client, name=sni)
    time.sleep(0.2)
    process.kill()
    streams.write(name, proxy.seen[-1])


ASK = ("-Verify", "2")
SERVERS = """good newer expiring short_lived expired future untrusted forged self_signed other_name wildcard for_clients
    for_anything authority days_201 days_200 days_398 rsa_1024 p224 by_weak_ca sha1 sha256 spiffe_server""".split()
CLIENTS = "client client_expired client_for_servers client_stranger".split()
OCSP = "good delegated revoked brief by_nobody by_stranger of_another try_later".split()


def sni_of(name):
    return "db.server.test" if name == "wildcard" else "server.test"


def ended_root_cases():
    handshake("by_old_ca", "by_old_ca")
    # An authority that has nothing to do with it is sent along.
    handshake("stranger_sent", "by_old_ca", chain="weak_ca")


def cases():
    for name in SERVERS:
        handshake(name, name, client=["-groups", "X25519:P-256:P-224"] if name == "p224" else [], sni=sni_of(name))
    for name, chain in (("by_sub", "sub"), ("by_sub_client", "sub_client"), ("by_sub_sha1", "sub_sha1"), ("by_sub_1024", "sub_1024")):
        handshake(name, name, chain=chain)
    for chain in ("sub_old", "sub_older"):
        handshake("by_" + chain, "by_sub", chain=chain)
    handshake("root_sent", "by_weak_ca", chain="weak_ca")
    ended_root_cases()
    handshake("address", "address", sni=None)
    handshake("no_sni", "good", sni=None)
    for name in CLIENTS:
        handshake(name, "good", *ASK, client=["-cert", W(name + ".pem"), "-key", W(name + ".key")])
    for name in OCSP:
        handshake("ocsp_" + name, "for_ocsp", "-status_file", W(f"ocsp_{name}.ocsp"), client=["-status"])
    for name, cert, cipher in (
        ("null", "sha256", "NULL-SHA256:ECDHE-ECDSA-NULL-SHA"),
        ("anonymous", "good", "ADH-AES128-SHA256"),
        ("ecdhe", "good", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ):
        handshake(name, cert, client=["-cipher", f"{cipher}:@SECLEVEL=0"])
    handshake("rsa_key_exchange", "rsa_1024", client=["-cipher", "AES128-SHA:@SECLEVEL=0"])


TODAY = 1780272000


def opinions():
    """What openssl says of each chain today (numbers of its errors), and of each OCSP response about its certificate."""
    with open(W("roots.pem"), "w") as f:
        for name in ("ca", "rsa_ca", "weak_ca"):
            f.write(open(W(name + ".pem")).read())
    chains = [(name, name, None) for name in SERVERS + CLIENTS]
    chains += [(name, name, name.removeprefix("by_")) for name in ("by_sub", "by_sub_client", "by_sub_sha1", "by_sub_1024")]
    chains += [("by_sub_old", "by_sub", "sub_old"), ("root_sent", "by_weak_ca", "weak_ca")]
    with open(os.path.join(HERE, "openssl_verify.txt"), "w") as f:
        for name, cert, chain in chains:
            side = ["-purpose", "sslclient"] if name in CLIENTS else ["-purpose", "sslserver", "-verify_hostname", sni_of(name)]
            out = subprocess.run(
                ["openssl", "verify", "-attime", str(TODAY), "-auth_level", "2", "-CAfile", W("roots.pem"), *side,
                 *(["-untrusted", W(chain + ".pem")] if chain else []), W(cert + ".pem")], capture_output=True, text=True)
            errors = [line.split()[1] for line in (out.stdout + out.stderr).splitlines() if line.startswith("error ") and " at " in line]
            f.write(" ".join([name, *errors]) + "\n")
    with open(os.path.join(HERE, "openssl_ocsp.txt"), "w") as f:
        for name in OCSP:
            out = subprocess.run(
                ["openssl", "ocsp", "-respin", W(f"ocsp_{name}.ocsp"), "-issuer", W("ca.pem"), "-cert", W("for_ocsp.pem"), "-CAfile",
                 W("ca.pem"), "-no_nonce"], capture_output=True, text=True)
            text = out.stdout + out.stderr
            signed = "Response verify OK" in text
            status = next((word for word in ("revoked", "good", "unknown") if f": {word}" in text), "none")
            f.write(f"{name} {'signed' if signed else 'unsigned'} {status}\n")


def from_capture(name, capture, wanted):
    """The first TCP stream of a capture that this filter of tshark fits: openssl 3.0 knows no post-quantum group."""
    def fields(expression, *names):
        more = [word for field in names for word in ("-e", field)]
        file = os.path.join(HERE, "..", "..", "..", "tests", "captures", capture)
        out = subprocess.run(["tshark", "-r", file, "-Y", expression, "-T", "fields", *more], check=True, capture_output=True, text=True)
        return [line.split("\t") for line in out.stdout.splitlines()]

    number, = fields(wanted, "tcp.stream")[0]
    client = None
    chunks = []
    for port, payload in fields(f"tcp.stream == {number} && tcp.len > 0", "tcp.srcport", "tcp.payload"):
        client = client or port
        chunks.append(("C" if port == client else "S", bytes.fromhex(payload)))
    streams.write(name, chunks)


if __name__ == "__main__":
    certificates()
    responses()
    cases()
    opinions()
    from_capture("tls13_hybrid", "stacks.pcapng", "tls.handshake.type == 2 && tls.handshake.extensions_key_share_group == 4588")
    run("rm", "-rf", streams.WORK)
