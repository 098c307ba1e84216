module tlsight.dev/tests/kube/peer

go 1.24
