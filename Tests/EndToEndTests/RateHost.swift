// A machine for tests of limits: Postfix with the lines of contrib/postfix/main.cf.rate and master.cf.rate, postern-rate,
// logins with passwords on a submission service, strangers by XCLIENT. Mail is accepted and thrown away: what Postfix
// has accepted stands in its log.

import Foundation
import Glibc
import PostfixHarness
import Synchronization

final class RateHost: Sendable {
    let postfix: PostfixInstance
    private let daemon: Mutex<Daemon>
    private let folder: TemporaryFolder
    /// Of strangers' sessions: two sessions are two connections.
    private let port = Atomic<UInt16>(20_000)

    static let letter = Array("From: Ann <ann@example.org>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8)
    static let password = "open sesame"

    /// - Parameter limits: the configuration's tables of them.
    /// - Parameter accounts: who may log in, with `password`.
    /// - Parameter mainLines: more of main.cf.
    init(limits: String, accounts: [String] = [], mainLines: [String] = []) throws {
        postfix = try PostfixInstance(Self.settings(accounts, mainLines))
        folder = try TemporaryFolder(isGuarded: true)
        try folder.shareRunAndState()
        try folder.write(
            "postern.toml",
            """
            [host]
            name = "mx1.example.org"
            [listen]
            rate = "unix:\(postfix.socketPath("rate.sock"))"
            control = "\(folder.path)/run"
            [state]
            directory = "\(folder.path)/state"
            [log]
            to = "stderr"
            \(limits)

            """)
        daemon = Mutex(
            try Daemon("postern-rate", configuration: folder.file("postern.toml").path, as: .of("postern-rate")))
    }

    private static func settings(_ accounts: [String], _ mainLines: [String]) throws -> PostfixSettings {
        func lines(_ name: String) throws -> [String] {
            let file = SourceTree.root.appending(path: "contrib/postfix/\(name)")
            // No time limit ends on a slow machine and makes DUNNO of an answer.
            return try String(contentsOf: file, encoding: .utf8).replacing("timeout=5s", with: "timeout=100s")
                .components(separatedBy: "\n")
        }
        var settings = PostfixSettings()
        settings.isChrooted = true
        let shipped = try lines("main.cf.rate")
        // What its last comment says to put behind reject_unlisted_recipient.
        guard let service = shipped.last(where: { $0.hasPrefix("#   check_policy_service ") })?.dropFirst(4) else {
            throw HarnessError("main.cf.rate: expected a service for strangers' recipients, found none")
        }
        settings.mainLines =
            shipped + [
                "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, \(service)",
                "virtual_transport = discard:",
                // A client that is refused again and again, or sends fast, is neither slowed down nor cut off.
                "in_flow_delay = 0", "smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 100000",
                "smtpd_hard_error_limit = 100000",
            ] + mainLines
        settings.accounts = Dictionary(uniqueKeysWithValues: accounts.map { ($0, password) })
        let options = try lines("master.cf.rate").filter { $0.hasPrefix("  -o ") }.map { String($0.dropFirst(5)) }
        settings.services.append(
            SMTPService(
                "submission",
                options: options + [
                    "smtpd_sasl_auth_enable=yes", "smtpd_relay_restrictions=permit_sasl_authenticated,reject",
                ]))
        return settings
    }

    // MARK: The daemon

    var rate: Daemon { daemon.withLock { $0 } }

    /// Starts another postern-rate in the dead one's place.
    func restart() throws {
        let next = try Daemon("postern-rate", configuration: folder.file("postern.toml").path, as: .of("postern-rate"))
        daemon.withLock { $0 = next }
    }

    func journalOctets() throws -> Int {
        try FileManager.default.attributesOfItem(atPath: folder.file("state/limits.journal").path)[.size] as? Int ?? 0
    }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments + ["--config", folder.file("postern.toml").path])
    }

    /// How a key stands, as `limit show` tells.
    func standing(_ key: String, in limit: String) throws -> LimitStanding {
        let shown = try postern(["limit", "show", key, "--json"])
        guard shown.status < 2 else { throw HarnessError("limit show: \(shown.errors)") }
        let object = try JSONSerialization.jsonObject(with: Data(shown.output)) as? [String: Any]
        let entries = object?["entries"] as? [[String: Any]] ?? []
        guard let entry = entries.first(where: { $0["limit"] as? String == limit }) else { return LimitStanding() }
        let uses = entry["uses"] as? [[String: Any]] ?? []
        return LimitStanding(
            used: uses.first?["used"] as? Int ?? -1, reserved: entry["reserved"] as? Int ?? -1,
            isOver: entry["over"] as? Bool ?? false)
    }

    /// A counter of `postern status`.
    func counter(_ metric: String, _ label: String) throws -> Int {
        let status = try postern(["status", "rate", "--json"])
        let object = try JSONSerialization.jsonObject(with: Data(status.output)) as? [String: Any]
        let daemon = (object?["daemons"] as? [[String: Any]])?.first?["status"] as? [String: Any]
        let counters = daemon?["counters"] as? [[String: Any]] ?? []
        let found = counters.first { $0["metric"] as? String == metric && $0["label_value"] as? String == label }
        guard let value = found?["value"] as? Int else {
            throw HarnessError("no counter \(metric) \(label): \(status)")
        }
        return value
    }

    // MARK: Clients

    /// A session of somebody's.
    func session(_ sender: RateSender) throws -> SMTPClient {
        switch sender {
        case .stranger(let address):
            let client = try postfix.connect()
            try client.xclient(
                name: "mx.example.net", address: address, port: port.add(1, ordering: .relaxed).newValue)
            try client.expect("EHLO mx.example.net")
            return client
        case .account(let user):
            let client = try postfix.connect("submission")
            try client.expect("EHLO laptop.example.org")
            try client.login(user, Self.password)
            return client
        }
    }

    /// What is answered to one recipient, in a session of its own.
    func rcpt(_ sender: RateSender) throws -> SMTPReply {
        let client = try session(sender)
        try client.expect("MAIL FROM:<ann@example.org>")
        return try client.command("RCPT TO:<bo@example.org>")
    }

    // MARK: What Postfix has accepted

    /// The recipients of a message in the queue. Source: qmgr(8)'s line `from=<>, size=, nrcpt=2 (queue active)`.
    func acceptedRecipients(_ queueID: String) throws -> Int {
        let line = try postfix.await(line: "nrcpt of \(queueID)") {
            $0.service == "qmgr" && $0.queueID == queueID && $0.text.contains(" nrcpt=")
        }
        guard let count = line.text.firstMatch(of: /\snrcpt=([0-9]+)/).flatMap({ Int($0.output.1) }) else {
            throw HarnessError("expected nrcpt=NUMBER, found \(line)")
        }
        return count
    }
}

enum RateSender: Sendable, CustomStringConvertible {
    case stranger(String)
    case account(String)

    /// What a limit counts it under.
    var key: String {
        switch self {
        case .stranger(let key), .account(let key): key
        }
    }
    /// The limit of `RateTests` that it has.
    var limit: String {
        switch self {
        case .stranger: "per client"
        case .account: "per account"
        }
    }
    var description: String { key }
}

/// How a key stands; zero where nothing was counted.
struct LimitStanding: Hashable {
    var used = 0
    var reserved = 0
    var isOver = false
}
