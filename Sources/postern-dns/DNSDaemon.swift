// postern-dns's own part of a daemon's life: from the configuration to a forwarder that serves.

import Glibc
import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail
import PosternSocket
import Synchronization

final class DNSDaemon: RunningDaemon {
    private let server: ForwarderServer
    /// Heartbeats that the event loop was asked for and has answered.
    private let heartbeats = Atomic<Int>(0)
    private let answered = Atomic<Int>(0)

    private init(_ server: ForwarderServer) { self.server = server }

    /// A question in flight is asked again by its client: nothing to wait for.
    var openTransactions: Int { 0 }

    var counters: [CounterReading] { server.counters.readings }
    func adopt(_ configuration: Configuration) { server.reload(ForwarderSettings(configuration)) }
    func stop() { server.stop() }

    /// The event loop is not waited for: what it has not answered since the last call, seconds ago, it will not.
    func isAlive() -> Bool {
        let asked = heartbeats.load(ordering: .relaxed)
        let isAlive = answered.load(ordering: .relaxed) == asked
        if isAlive {
            heartbeats.store(asked + 1, ordering: .relaxed)
            server.heartbeat { [self] in answered.store(asked + 1, ordering: .relaxed) }
        }
        return isAlive
    }

    static func start(_ configuration: Configuration, _ resources: DaemonResources) throws -> any RunningDaemon {
        let log = resources.log
        var settings = ForwarderSettings(configuration)
        let activated = resources.sockets.take("dns")
        settings.take(activated, log)
        let places = settings.listen.map(\.description) + activated.map(\.place)
        let server = ForwarderServer(settings, log: log)
        try server.start()
        let upstreams = settings.upstreams.map(\.description).joined(separator: ", ")
        log.info(
            "listening on \(places.joined(separator: ", ")), asking \(upstreams.isEmpty ? "nobody" : upstreams), "
                + "static records: \(settings.staticZone.recordCount)")
        if upstreams.isEmpty {
            log.warning(
                "no upstream: expected dns.upstream or a nameserver in /etc/resolv.conf; "
                    + "only the static zone is answered")
        }
        return DNSDaemon(server)
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

    /// Sockets from systemd take the place of those of their kind: UNIX ones of `unix:` in `listen.dns`, TCP of `tcp:`.
    /// UDP is always our own.
    mutating func take(_ sockets: [ActivatedSocket], _ log: any LogSink) {
        for socket in sockets {
            if let endpoint = socket.endpoint, !listen.contains(endpoint) {
                log.warning(
                    "systemd passed \(endpoint), which listen.dns does not name; the daemons ask those of listen.dns")
            }
        }
        func isOf(_ kind: Endpoint?, _ endpoint: Endpoint) -> Bool {
            switch (kind, endpoint) {
            case (.unix, .unix), (.tcp, .tcp): true
            default: false
            }
        }
        listen.removeAll { endpoint in sockets.contains { isOf($0.endpoint, endpoint) } }
        activatedSockets = sockets.map(\.descriptor)
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
