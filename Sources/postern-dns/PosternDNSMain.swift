// postern-dns: the DNS cache that all daemons of a host share.
// The way of a question: PosternForwarder's handlers -> Forwarder -> static zone, cache, or Inquiry (upstreams).

import PosternDaemon

@main
struct PosternDNSMain {
    static func main() {
        Daemon.main(
            program: "postern-dns", purpose: ConfigurationRole.dns.purpose, role: .dns,
            start: DNSDaemon.start)
    }
}
