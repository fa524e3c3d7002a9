// What the machines of these tests are made of alike: users of the daemons' own, folders as systemd/tmpfiles.d makes them,
// and the tables of postern.toml that say where everything is.

import Foundation
import Glibc
import PostfixHarness

extension DaemonIdentity {
    /// Group postern.
    static let commonGroup: gid_t = 64_100
    // Numbers that no machine gives to anyone.
    private static let users: [String: uid_t] = [
        "postern-dkim": 64_101, "postern-dns": 64_102, "postern-dmarc": 64_103, "postern-policy": 64_104,
        "postern-rate": 64_105,
    ]

    /// As the daemon's unit has it: a user of its own; in Postfix's group who listens below Postfix's queue folder.
    static func of(_ program: String) throws -> DaemonIdentity {
        guard let user = users[program] else { throw HarnessError("no user of \(program)'s") }
        guard program != "postern-dns" else { return DaemonIdentity(user: user, group: commonGroup) }
        guard let postfix = getgrnam("postfix")?.pointee.gr_gid else { throw HarnessError("no group postfix") }
        return DaemonIdentity(user: user, group: commonGroup, supplementaryGroups: [postfix])
    }
}

extension TemporaryFolder {
    /// As systemd/tmpfiles.d/postern.conf makes /run/postern and /var/lib/postern.
    static func share(_ folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        chown(folder.path, 0, DaemonIdentity.commonGroup)
        chmod(folder.path, 0o3770)
    }

    /// The folders of control sockets and of state.
    func shareRunAndState() throws {
        for name in ["run", "state"] { try Self.share(file(name)) }
    }

    /// A private key in `keys`, readable for postern-dkim alone.
    func writeKey(_ name: String, _ pem: String) throws {
        let file = try write("keys/\(name)", pem, mode: 0o400)
        chown(file.path, try DaemonIdentity.of("postern-dkim").user, DaemonIdentity.commonGroup)
    }
}

extension PostfixInstance {
    /// `[listen]`, `[state]`, `[log]` and `[dns]` of daemons that serve this Postfix.
    /// - Parameter names: of the sockets: `dkim`, `policy`.
    /// - Parameter state: where it is not the folder's own.
    func places(of names: [String], in folder: String, state: String? = nil, logFormat: String = "postfix") -> String {
        """
        [listen]
        \(names.map { "\($0) = \"unix:\(socketPath("\($0).sock"))\"" }.joined(separator: "\n"))
        dns = ["unix:\(folder)/run/dns.sock"]
        control = "\(folder)/run"
        [state]
        directory = "\(state ?? "\(folder)/state")"
        [log]
        to = "stderr"
        format = "\(logFormat)"
        [dns]
        # Nobody answers there: what the zone does not hold is a temporary failure; no test asks the world.
        upstream = ["127.0.0.1:9"]
        static = "static.zone"
        """
    }
}
