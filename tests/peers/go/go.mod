module tlsight.test/peer

go 1.27
