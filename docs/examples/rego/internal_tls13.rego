# Inside the cluster, TLS 1.3 and nothing older: both ends are ours, nobody has to be waited for.
package tlsight.rules.internal_tls13

# Connections that this is about. Without this rule, every connection would be, and each without a finding would
# count as good.
applies if {
	input["tls.established"]
	input["tlsight.scope"] in {"node", "cluster"}
}

findings contains {
	"severity": "warning",
	"message": sprintf("TLS %s inside the cluster, where 1.3 is the rule", [version]),
	"advice": "Update the older end: what the client offers is in tlsight.client.supported_versions.",
	"evidence": {
		"tls.cipher": input["tls.cipher"],
		"tlsight.client.supported_versions": object.get(input, "tlsight.client.supported_versions", []),
	},
} if {
	version := input["tls.protocol.version"]
	version != "1.3"
}
