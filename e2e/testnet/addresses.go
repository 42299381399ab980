package testnet

// The addresses of the network. All of 127.0.0.0/8 answers on lo.
const (
	RootAddr     = "127.0.0.10" // name server of the root and the TLDs
	ProviderAddr = "127.0.0.20" // name server of the customers' DNS provider
	SpareAddr    = "127.0.0.21" // a second provider, for tests that take one away
	ProductAddr  = "127.0.0.30" // the product: DNS, HTTP and HTTPS
	ForeignAddr  = "127.0.0.40" // the web server that customers migrate from
	ResolverAddr = "127.0.0.53" // the resolver in /etc/resolv.conf
)

// Zone is the product's zone, delegated to ProductAddr with glue; NameServer is
// its name server's name.
const (
	Zone       = "cname.example.net"
	NameServer = "ns1.example.net"
)
