# Clients are workloads whose certificates a machine issues: for some days, and with a SPIFFE id. One that is valid
# for longer, or has no such id, was made by hand.
package tlsight.rules.workload_certificates

max_days := 7

# Partners outside have certificates of their own kind.
partners := {"10.20.0.0/16", "2001:db8:20::/48"}

applies if {
	input["tls.client.hash.sha256"]
	not is_partner
}

findings contains {
	"id": "long_lived",
	"about": "client_certificate",
	"severity": "warning",
	"message": sprintf("the client certificate %s is valid for %d days, more than %d", [name, days, max_days]),
	"advice": "Have it issued by the workload issuer instead.",
	"evidence": {
		"days": days,
		"tls.client.issuer": object.get(input, "tls.client.issuer", null),
	},
} if {
	begin := time.parse_rfc3339_ns(input["tls.client.not_before"])
	end := time.parse_rfc3339_ns(input["tls.client.not_after"])
	days := ceil((end - begin) / nanoseconds_a_day)
	days > max_days
}

findings contains {
	"id": "no_spiffe_id",
	"about": "client_certificate",
	"severity": "information",
	"message": sprintf("the client certificate %s has no SPIFFE id", [name]),
} if {
	not has_spiffe_id
}

nanoseconds_a_day := ((24 * 60) * 60) * 1000000000

name := object.get(input, "tls.client.subject", "without a subject")

has_spiffe_id if {
	some san in input["tlsight.client.san"]
	startswith(san, "spiffe://")
}

is_partner if {
	some network in partners
	net.cidr_contains(network, input["client.address"])
}
