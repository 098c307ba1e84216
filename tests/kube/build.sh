#!/usr/bin/env bash
# Compiles the programs of a Kubernetes 1.20 node (kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy,
# kubelet) from Debian's source package `kubernetes`: no registry of packages has them ready to run.
# usage: build.sh DIR        they land in DIR/bin; nothing is done where they are there already
# Five minutes on two cores. Needs, from Debian: golang-1.19-go golang-1.19-src dpkg-dev
# golang-github-modern-go-reflect2-dev golang-github-modern-go-concurrent-dev
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
programs=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet)
# Written last: an interrupted build does not count.
[ -e "$dir/bin/complete" ] && exit 0

export GOROOT=/usr/lib/go-1.19
go=$GOROOT/bin/go
[ -x "$go" ] || { echo "build.sh: there is no Go 1.19 in $GOROOT: install golang-1.19-go" >&2; exit 1; }

rm -rf "$dir"/{apt,lists,cache,src,gopath,bin}
mkdir -p "$dir"/{apt,lists/partial,cache/archives/partial,src,bin}
# The machine's own sources of packages, asked for source packages too, with lists of their own.
if [ -e /etc/apt/sources.list.d/debian.sources ]; then
  sed 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources >"$dir/apt/source.sources"
else
  sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$dir/apt/source.list"
fi
opts=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$dir/apt" -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache"
  -o APT::Sandbox::User=root)
apt-get "${opts[@]}" update -qq
(cd "$dir/src" && apt-get "${opts[@]}" source -qq --download-only kubernetes)

export GOPATH=$dir/gopath GOCACHE=$dir/gopath/cache GO111MODULE=off CGO_ENABLED=0
k=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$k"
tar xzf "$dir"/src/kubernetes_*.orig.tar.gz -C "$k" --strip-components=1
# The reflect2 that comes with it crashes under Go 1.18 and later ("fatal error: fault"); Debian's does not.
rm -rf "$k"/vendor/github.com/modern-go/*
cp -r /usr/share/gocode/src/github.com/modern-go/{reflect2,concurrent} "$k/vendor/github.com/modern-go/"
for file in component-base/version/base.go client-go/pkg/version/base.go; do
  sed -i 's/"v0.0.0-master+[^"]*"/"v1.20.2"/' "$k/staging/src/k8s.io/$file"
done
cd "$k"
# Debian's tarball has no generated files; the one that is needed describes the API's types.
$go build -o "$dir/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
inputs=$(grep -rlE '^// \+k8s:openapi-gen=' --include=*.go pkg cmd plugin staging/src/k8s.io | grep -v -e zz_generated -e _test.go |
  xargs -n1 dirname | sort -u |
  sed -e 's#^staging/src/#k8s.io/kubernetes/vendor/#' -e '/^k8s.io\/kubernetes\/vendor/!s#^#k8s.io/kubernetes/#' | paste -sd,)
# Its exit code tells of names that break a rule of style, of which there are some.
"$dir/openapi-gen" -O zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt -i "$inputs" \
  -p k8s.io/kubernetes/pkg/generated/openapi -r "$dir/violations" || true
for program in "${programs[@]}"; do
  $go build -ldflags '-s -w' -o "$dir/bin/$program" "k8s.io/kubernetes/cmd/$program"
done
rm -rf "$dir"/{apt,lists,cache,src,gopath,openapi-gen,violations}
touch "$dir/bin/complete"
