// postern-dns's own part of a daemon's life: from the configuration to a forwarder that serves.

import Glibc
import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail
import PosternSocket

struct DNSDaemon: RunningDaemon {
    private let server: ForwarderServer

    /// A question in flight is asked again by its client: nothing to wait for.
    var openTransactions: Int { 0 }

    func stop() { server.stop() }

    static func start(_ configuration: Configuration, log: any LogSink) throws -> any RunningDaemon {
        let settings = ForwarderSettings(configuration)
        let server = ForwarderServer(settings, log: log)
        try server.start()
        let upstreams = settings.upstreams.map(\.description).joined(separator: ", ")
        log.info(
            "listening on \(settings.listen.map(\.description).joined(separator: ", ")), asking \(upstreams.isEmpty ? "nobody" : upstreams), static records: \(settings.staticZone.recordCount)"
        )
        if upstreams.isEmpty {
            log.warning(
                "no upstream: expected dns.upstream or a nameserver in /etc/resolv.conf; only the static zone is answered"
            )
        }
        return DNSDaemon(server: server)
    }
}

extension ForwarderSettings {
    init(_ configuration: Configuration) {
        let dns = configuration.dns
        let stated = dns.upstreams.compactMap(Upstream.init)
        self.init(
            upstreams: stated.isEmpty ? Self.systemUpstreams() : stated,
            cache: Cache.Settings(octets: dns.cacheOctets, negativeTTLMax: dns.negativeTTLMax),
            staticZone: dns.staticZone, listen: configuration.listen.dns, socketMode: UInt32(configuration.listen.mode))
    }

    /// The nameservers of /etc/resolv.conf; none where it cannot be read. Source: resolv.conf(5).
    private static func systemUpstreams() -> [Upstream] {
        guard let file = fopen("/etc/resolv.conf", "r") else { return [] }
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&octets, 1, octets.count, file)
        return ResolvConf.nameservers(in: String(decoding: octets.prefix(count), as: UTF8.self)).map { Upstream($0) }
    }
}

extension Upstream {
    /// `dns.upstream` holds `.udp` endpoints with an IP address; anything else was refused by the configuration.
    init?(_ endpoint: Endpoint) {
        guard case .udp(let host, let port) = endpoint, let address = IPAddress(host) else { return nil }
        self.init(address, port: port)
    }
}
