// A host that is wired with Debian's OpenDKIM, OpenDMARC and postgrey, as their packages and the guides of the net have
// it, and becomes Postern by the commands of contrib/doc/migration.md. Postern's daemons stand beside, as its package
// leaves them: running, with nobody who asks them.

import Foundation
import Glibc
import PostfixHarness
import Testing

final class MigrationHost: @unchecked Sendable {
    // Unchecked: one thread migrates; others send mail through `postfix` only.
    let postfix: PostfixInstance
    let key: PeerKey
    private let folder: TemporaryFolder
    private let resolver: Daemon
    private var peers: [BackgroundProgram] = []
    private var daemons: [String: Daemon] = [:]

    static let programs = ["/usr/sbin/opendkim", "/usr/sbin/opendmarc", "/usr/sbin/postgrey", "/usr/bin/unshare"]
    static var isPossible: Bool {
        ProcessInfo.processInfo.environment["POSTERN_TEST_ALL"] != nil
            || programs.allSatisfy { access($0, X_OK) == 0 }
    }

    init() throws {
        key = try PeerKey(.rsa)
        folder = try TemporaryFolder(isGuarded: true)
        let ports = try (dkim: FreePort.tcp(), dmarc: FreePort.tcp(), postgrey: FreePort.tcp())
        var settings = PostfixSettings(
            smtpdMilters: "inet:127.0.0.1:\(ports.dkim), inet:127.0.0.1:\(ports.dmarc)",
            nonSMTPDMilters: "inet:127.0.0.1:\(ports.dkim)",
            services: [
                SMTPService("smtp"),
                SMTPService("submission", options: ["smtpd_sasl_auth_enable=yes", "smtpd_sasl_path=smtpd"]),
            ])
        settings.isChrooted = true
        settings.mainLines = [
            "milter_default_action = accept",
            "smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,"
                + " check_policy_service inet:127.0.0.1:\(ports.postgrey)",
        ]
        postfix = try PostfixInstance(settings)
        try folder.write("etc/postern/static.zone", Self.zone + key.zoneLine(name: "old._domainkey.example.org"))
        try folder.shareRunAndState()

        // The peers look DNS up at port 53 of whom resolv.conf names: an address of this host's own.
        let address = "127.83.\(getpid() / 250 % 250).\(getpid() % 250 + 1)"
        try folder.write("resolver/static.zone", try folder.text("etc/postern/static.zone"))
        try folder.write(
            "resolver/postern.toml",
            """
            [listen]
            dns = ["udp:\(address):53", "tcp:\(address):53"]
            control = "\(folder.path)/resolver"
            [state]
            directory = "\(folder.path)/resolver"
            [log]
            to = "stderr"
            [dns]
            upstream = ["127.0.0.1:9"]
            static = "static.zone"
            """)
        resolver = try Daemon("postern-dns", configuration: folder.file("resolver/postern.toml").path)
        try folder.write("old/etc/resolv.conf", "nameserver \(address)\noptions timeout:2 attempts:2\n")
        try writePeers(ports.dkim, ports.dmarc, ports.postgrey)
        try startPeers(ports.dkim, ports.dmarc, ports.postgrey)

        // What the package leaves: daemons that run, and a configuration that says nothing.
        let places = postfix.places(of: ["dkim", "dmarc", "policy", "rate"], in: folder.path)
            .replacing("static = \"static.zone\"", with: "static = \"\(folder.path)/etc/postern/static.zone\"")
        try folder.write("places.toml", "\n" + places)
        try folder.write("etc/postern/postern.toml", places)
        try writeCommands()
        try startDaemons()
    }

    private static let zone = """
        $TTL 300
        org. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        net. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        example. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        arpa. IN SOA ns.example. admin.example. 1 3600 600 86400 60
        example.org. IN TXT "v=spf1 a:mx1.example.org -all"
        mx1.example.org. IN A 192.0.2.25
        25.2.0.192.in-addr.arpa. IN PTR mx1.example.org.
        _dmarc.example.org. IN TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.org"
        example.net. IN TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"
        _dmarc.example.net. IN TXT "v=DMARC1; p=reject"
        bank.example. IN TXT "v=spf1 -all"
        _dmarc.bank.example. IN TXT "v=DMARC1; p=reject"

        """

    // MARK: The old programs

    /// Their files, as the packages and an admin leave them, below `old`.
    private func writePeers(_ dkim: UInt16, _ dmarc: UInt16, _ postgrey: UInt16) throws {
        try folder.write("old/etc/dkimkeys/old.private", key.pem, mode: 0o600)
        try folder.write(
            "old/etc/opendkim.conf",
            """
            Syslog no
            UMask 007
            Domain example.org
            Selector old
            KeyFile /etc/dkimkeys/old.private
            Canonicalization relaxed/simple
            Mode sv
            OversignHeaders From
            AuthservID example.org
            Socket inet:\(dkim)@127.0.0.1

            """)
        try folder.write(
            "old/etc/opendmarc.conf",
            """
            Syslog false
            AuthservID example.org
            TrustedAuthservIDs example.org
            IgnoreAuthenticatedClients true
            RejectFailures true
            SPFSelfValidate true
            SPFIgnoreResults true
            Socket inet:\(dmarc)@127.0.0.1

            """)
        try folder.write(
            "old/etc/default/postgrey",
            "POSTGREY_OPTS=\"--inet=127.0.0.1:\(postgrey) --delay=1 --auto-whitelist-clients=1\"\n")
        for name in ["whitelist_clients", "whitelist_recipients"] {
            try folder.write(
                "old/etc/postgrey/\(name)", Array(try Data(contentsOf: URL(filePath: "/etc/postgrey/\(name)"))))
        }
        guard let user = getpwnam("postgrey")?.pointee else { throw HarnessError("no user postgrey") }
        try FileManager.default.createDirectory(at: folder.file("postgrey"), withIntermediateDirectories: true)
        chown(folder.file("postgrey").path, user.pw_uid, user.pw_gid)
    }

    /// Each sees its own files where the package has them.
    private func startPeers(_ dkim: UInt16, _ dmarc: UInt16, _ postgrey: UInt16) throws {
        func start(_ port: UInt16, _ files: [String], _ words: String) throws {
            let binds = files.map { "mount --bind \(folder.path)/old\($0) \($0)" }.joined(separator: " && ")
            peers.append(
                try BackgroundProgram("/usr/bin/unshare", ["-m", "sh", "-c", "\(binds) && exec \(words)"]) { _ in
                    // Listening: a milter that gets a connection without a word closes it again.
                    guard let client = try? Probe.connect(port) else { return false }  // not yet
                    close(client)
                    return true
                })
        }
        let resolving = "/etc/resolv.conf"
        try start(
            dkim, ["/etc/opendkim.conf", "/etc/dkimkeys", resolving],
            "/usr/sbin/opendkim -f -x /etc/opendkim.conf")
        try start(
            dmarc, ["/etc/opendmarc.conf", resolving], "/usr/sbin/opendmarc -f -c /etc/opendmarc.conf")
        let files = ["clients", "recipients"].map { "--whitelist-\($0)=/etc/postgrey/whitelist_\($0)" }
        try start(
            postgrey, ["/etc/postgrey"],
            "/usr/sbin/postgrey --inet=127.0.0.1:\(postgrey) --delay=1 --auto-whitelist-clients=1 "
                + "--dbdir=\(folder.path)/postgrey --user=postgrey --group=postgrey " + files.joined(separator: " "))
    }

    func stopPeers() throws {
        for peer in peers { try peer.stop() }
    }

    // MARK: The new ones

    func startDaemons() throws {
        for name in ["dns", "dkim", "dmarc", "policy", "rate"] {
            try daemons[name]?.stop()
            daemons[name] = try Daemon(
                "postern-\(name)", configuration: folder.file("etc/postern/postern.toml").path,
                as: .of("postern-\(name)"))
        }
    }

    func lines(of name: String) -> [String] { daemons[name]?.lines ?? [] }

    // MARK: The admin's commands

    /// What the commands of the document find on PATH: this host's, in place of the machine's own.
    private func writeCommands() throws {
        let postern = try Products.path("postern")
        let configuration = folder.file("etc/postern/postern.toml").path
        func command(_ name: String, _ text: String) throws {
            try folder.write("bin/\(name)", "#!/bin/bash\n\(text)\n", mode: 0o755)
        }
        // Where this host's folders are is not what the old programs were told.
        try command(
            "postern",
            """
            case "$1 $2" in
            "import all")
                \(postern) "$@" --root \(folder.path)/old --postfix-config \(postfix.configurationFolder)
                status=$?
                cat \(folder.path)/places.toml
                exit $status ;;
            "doctor "*) exec \(postern) "$@" --config \(configuration) --postfix-config \(postfix.configurationFolder) ;;
            esac
            exec \(postern) "$@" --config \(configuration)
            """)
        for name in ["postconf", "postfix"] {
            try command(name, "exec /usr/sbin/\(name) -c \(postfix.configurationFolder) \"$@\"")
        }
        let user = try DaemonIdentity.of("postern-dkim").user
        // This machine has no such user.
        try command(
            "install",
            """
            words=()
            for word in "$@"; do words+=("${word/#postern-dkim/\(user)}"); done
            exec /usr/bin/install "${words[@]}"
            """)
    }

    /// Runs a piece of the document.
    func run(_ text: String) throws -> ProgramResult {
        let script = text.replacing("/etc/postern", with: "\(folder.path)/etc/postern")
            .replacing("/root/", with: "\(folder.path)/")
            .replacing("/var/lib/postgrey", with: "\(folder.path)/postgrey")
            .replacing("submission/inet", with: "127.0.0.1:\(try postfix.port("submission"))/inet")
            // This postgrey knows who came back once; postgrey counts a client once an hour.
            .replacing(">= 5", with: ">= 1")
        return try Program.run(
            "/bin/bash", ["-euo", "pipefail", "-c", script],
            environment: ["PATH": "\(folder.path)/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    }

    /// The commands that are printed in the document, block by block.
    static func blocks() throws -> [String] {
        let path = SourceTree.root.appending(path: "contrib/doc/migration.md")
        let text = try String(contentsOf: path, encoding: .utf8)
        return text.matches(of: #/(?ms)^ *```sh\n(.*?)^ *```/#).map { match in
            match.output.1.split(separator: "\n").map { String($0.hasPrefix("   ") ? $0.dropFirst(3) : $0) }
                .joined(separator: "\n")
        }
    }
}

private enum Probe {
    /// Connects to a port of 127.0.0.1.
    static func connect(_ port: UInt16) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError("no socket") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else {
            close(descriptor)
            throw HarnessError("nobody listens at port \(port)")
        }
        return descriptor
    }
}
