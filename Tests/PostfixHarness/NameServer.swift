// DNS servers that nobody here wrote, as processes of a test's own on loopback ports: NSD for zones, Unbound and BIND as
// resolvers in front of it. Nothing of them touches the machine's own configuration.

import Foundation
import Glibc

/// One server process, ended with its owner.
public final class NameServer: Sendable {
    public let name: String
    public let port: UInt16
    private let folder: TemporaryFolder
    private let child: ChildProcess
    private let guardian: Guardian

    /// The programs that this file starts and asks with.
    public static let programs = [
        "/usr/sbin/nsd", "/usr/sbin/unbound", "/usr/sbin/named", "/usr/bin/dig", "/usr/bin/dnsperf",
        "/usr/bin/ldns-signzone",
    ]
    /// Whether all are there. contrib/test demands it.
    public static var areAvailable: Bool {
        ProcessInfo.processInfo.environment["POSTERN_TEST_ALL"] != nil
            || programs.allSatisfy { access($0, X_OK) == 0 }
    }

    /// - Parameter probe: `dig`'s words for a question that it answers as soon as it serves.
    private init(
        _ name: String, port: UInt16, folder: TemporaryFolder, command: [String], probe: [String]
    ) throws {
        (self.name, self.port, self.folder) = (name, port, folder)
        let log = folder.file("\(name).log").path
        let child = try ChildProcess(command[0], Array(command.dropFirst()), output: log, errors: log)
        self.child = child
        guardian = try Guardian(onDeath: "kill -KILL \(child.pid); rm -rf \(folder.path)")
        func text() -> String { (try? folder.text("\(name).log")) ?? "" }  // no log is said by an empty one
        do {
            try Await.until("\(name) to serve", context: text) {
                if let status = child.exitStatus { throw HarnessError("\(name) ended with \(status):\n\(text())") }
                return try Self.dig(port, probe + ["+time=1"]).contains("status: ")
            }
        } catch {
            child.send(signal: SIGKILL)
            throw error
        }
    }

    deinit {
        stop()
        guardian.dismiss()
    }

    /// Ends it on the spot.
    public func stop() {
        child.send(signal: SIGKILL)
        _ = try? child.wait()  // SIGKILL cannot be refused
    }

    /// What `dig` prints. Source: dig(1).
    public static func dig(_ port: UInt16, _ words: [String]) throws -> String {
        try Program.run("/usr/bin/dig", ["@127.0.0.1", "-p", "\(port)", "+tries=1", "+time=60"] + words).text
    }

    // MARK: The servers

    /// NSD with zones, by their names without a dot.
    public static func nsd(port: UInt16? = nil, zones: [(name: String, text: String)]) throws -> NameServer {
        let folder = try TemporaryFolder()
        let port = try port ?? FreePort.tcp()
        var configuration = """
            server:
                ip-address: 127.0.0.1@\(port)
                username: ""
                zonesdir: "\(folder.path)"
                database: ""
                pidfile: "\(folder.path)/nsd.pid"
                xfrdfile: ""
                zonelistfile: "\(folder.path)/nsd.list"
            remote-control:
                control-enable: no

            """
        for zone in zones {
            try folder.write(zone.name, zone.text)
            configuration += "zone:\n    name: \(zone.name)\n    zonefile: \(zone.name)\n"
        }
        let file = try folder.write("nsd.conf", configuration)
        return try NameServer(
            "nsd", port: port, folder: folder, command: ["/usr/sbin/nsd", "-d", "-c", file.path],
            probe: [zones.first?.name ?? ".", "SOA"])
    }

    /// Unbound, which asks the server on `source` about the zones, validates, and tells why it fails (RFC 8914).
    /// - Parameter anchors: DNSKEY records of signed zones.
    public static func unbound(
        port: UInt16? = nil, zones: [String], source: UInt16, anchors: String
    ) throws -> NameServer {
        let folder = try TemporaryFolder()
        let port = try port ?? FreePort.tcp()
        try folder.write("anchors", anchors)
        var configuration = """
            server:
                interface: 127.0.0.1@\(port)
                username: ""
                chroot: ""
                directory: "\(folder.path)"
                pidfile: "\(folder.path)/unbound.pid"
                use-syslog: no
                do-not-query-localhost: no
                ede: yes
                trust-anchor-file: "\(folder.path)/anchors"
                local-zone: "test." nodefault

            """
        for zone in zones { configuration += "stub-zone:\n    name: \(zone)\n    stub-addr: 127.0.0.1@\(source)\n" }
        let file = try folder.write("unbound.conf", configuration)
        return try NameServer(
            "unbound", port: port, folder: folder, command: ["/usr/sbin/unbound", "-d", "-c", file.path],
            probe: [zones.first ?? ".", "SOA"])
    }

    /// BIND, which hands questions about the zones on to the server on `source`, and demands a cookie of its own of whoever
    /// speaks cookies by UDP (BADCOOKIE, RFC 7873 §5.2.3).
    public static func bind(zones: [String], source: UInt16) throws -> NameServer {
        let folder = try TemporaryFolder()
        let port = try FreePort.tcp()
        var configuration = """
            options {
                directory "\(folder.path)"; pid-file "\(folder.path)/named.pid";
                session-keyfile "\(folder.path)/session.key";
                listen-on port \(port) { 127.0.0.1; }; listen-on-v6 { none; };
                recursion yes; allow-query { any; }; allow-recursion { any; };
                dnssec-validation no; require-server-cookie yes; empty-zones-enable no;
            };
            controls { };

            """
        for zone in zones {
            configuration += """
                zone "\(zone)" { type forward; forward only; forwarders { 127.0.0.1 port \(source); }; };

                """
        }
        let file = try folder.write("named.conf", configuration)
        return try NameServer(
            "named", port: port, folder: folder, command: ["/usr/sbin/named", "-g", "-c", file.path],
            probe: [zones.first ?? ".", "SOA"])
    }

    /// A zone signed with a new key, and the key. Source: ldns-keygen(1), ldns-signzone(1).
    public static func signed(_ name: String, _ text: String) throws -> (text: String, anchor: String) {
        let folder = try TemporaryFolder()
        try folder.write(name, text)
        let script = """
            cd \(folder.path) && key=$(ldns-keygen -a ECDSAP256SHA256 -k \(name)) &&
            ldns-signzone -e 20400101000000 \(name) $key && cat $key.key
            """
        let made = try Program.run("/bin/sh", ["-c", script])
        guard made.status == 0 else { throw HarnessError("ldns-signzone: \(made.errors)") }
        return (try folder.text("\(name).signed"), made.text)
    }
}
