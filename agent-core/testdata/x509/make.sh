#!/bin/sh
# Makes the certificates of this directory with openssl (3.0 or later) and, next to each, what openssl says about it.
# The keys are thrown away: the files change with every run, the tests do not depend on their values.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -f ./*.der ./*.txt

# describe NAME: the DER form and openssl's view of it
describe() {
    openssl x509 -in "$work/$1.pem" -outform DER -out "$1.der"
    {
        openssl x509 -in "$work/$1.pem" -noout -subject -issuer -serial -fingerprint -sha256 -startdate -enddate \
            -dateopt iso_8601 -nameopt RFC2253,-esc_msb,utf8
        openssl x509 -in "$work/$1.pem" -noout -text -certopt no_sigdump | grep -E \
            'Signature Algorithm|Public Key Algorithm|Public-Key|NIST CURVE|ASN1 OID|CA:|DNS:|IP Address:|URI:|email:|TLS Web|Version' |
            sed 's/^ *//' | sort -u
    } >"$1.txt"
}

# self NAME KEYARGS SUBJECT EXTENSIONS [REQARGS...]
self() {
    name=$1 keyargs=$2 subject=$3 extensions=$4
    shift 4
    # shellcheck disable=SC2086
    openssl genpkey $keyargs -out "$work/$name.key" 2>/dev/null
    printf '[req]\ndistinguished_name=dn\nprompt=no\nstring_mask=utf8only\nutf8=yes\n[dn]\nCN=x\n[ext]\n%b\n' "$extensions" >"$work/$name.cnf"
    openssl req -new -x509 -key "$work/$name.key" -config "$work/$name.cnf" -extensions ext -utf8 -multivalue-rdn \
        -subj "$subject" -days 3650 -out "$work/$name.pem" "$@"
    describe "$name"
}

CA='basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nkeyUsage=keyCertSign,cRLSign'
rsa='-algorithm RSA -pkeyopt rsa_keygen_bits:2048'
ec='-algorithm EC -pkeyopt ec_paramgen_curve:'

self rsa_ca "$rsa" '/C=DE/O=Example, Inc./OU=A+OU=B/CN=Root "R1" <ca>;\\/emailAddress=ca@example.com' "$CA" -sha384 -set_serial 0x00ff0102
self utf8_names "${ec}P-256" '/C=JP/L=東京/O= leading and trailing /CN=#müller\, 日本' "$CA"
self ed25519 '-algorithm ED25519' '/CN=ed25519' "$CA"
self ed448 '-algorithm ED448' '/CN=ed448/DC=example/DC=com/UID=u1' "$CA"
self p384 "${ec}P-384" '/CN=p384' "$CA" -sha384
self p521 "${ec}P-521" '/CN=p521' "$CA" -sha512
self secp256k1 "${ec}secp256k1" '/CN=k1' "$CA"
self brainpool "${ec}brainpoolP256r1" '/CN=bp' "$CA"
self rsa_1023 '-algorithm RSA -pkeyopt rsa_keygen_bits:1023' '/CN=odd' "$CA" -sha1
self rsa_pss "$rsa" '/CN=pss' "$CA" -sigopt rsa_padding_mode:pss
self zero_serial "${ec}P-256" '/CN=zero' "$CA" -set_serial 0
openssl dsaparam -out "$work/dsa.prm" 2048 2>/dev/null
self dsa "-paramfile $work/dsa.prm" '/CN=dsa' "$CA"

# A leaf with every kind of alternative name and usage, signed by the RSA root; its subject is empty.
openssl genpkey ${ec}P-256 -out "$work/leaf.key" 2>/dev/null
openssl req -new -key "$work/leaf.key" -subj / -out "$work/leaf.csr"
cat >"$work/leaf.cnf" <<END
basicConstraints=CA:FALSE
subjectAltName=critical,DNS:example.com,DNS:*.example.com,IP:192.0.2.1,IP:2001:db8::1,URI:spiffe://example.org/ns/a/sa/b,URI:https://example.com/,email:a@example.com,otherName:1.2.3.4;UTF8:other,dirName:dir
extendedKeyUsage=serverAuth,clientAuth,1.2.3.4.5
[dir]
CN=inside
END
openssl x509 -req -in "$work/leaf.csr" -CA "$work/rsa_ca.pem" -CAkey "$work/rsa_ca.key" -extfile "$work/leaf.cnf" \
    -days 90 -out "$work/leaf.pem" 2>/dev/null
describe leaf

# Version 1: no extensions at all.
openssl req -new -key "$work/leaf.key" -subj /CN=v1 -out "$work/v1.csr"
openssl x509 -req -in "$work/v1.csr" -CA "$work/rsa_ca.pem" -CAkey "$work/rsa_ca.key" -days 90 -out "$work/v1.pem" 2>/dev/null
describe v1

# Dates at both ends of what can be written: UTCTime pivots at 1950, GeneralizedTime goes on to 9999.
touch "$work/index"
for dates in "utctime_1950 500101000000Z 491231235959Z" "year_9999 20500101000000Z 99991231235959Z"; do
    # shellcheck disable=SC2086
    set -- $dates
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\nrand_serial=yes\nunique_subject=no\n[p]\ncommonName=supplied\n' \
        "$work/index" "$work" >"$work/ca.cnf"
    openssl req -new -key "$work/leaf.key" -subj "/CN=$1" -out "$work/$1.csr"
    openssl ca -batch -config "$work/ca.cnf" -selfsign -keyfile "$work/leaf.key" -in "$work/$1.csr" -startdate "$2" \
        -enddate "$3" -notext -out "$work/$1.pem" 2>/dev/null
    describe "$1"
done
