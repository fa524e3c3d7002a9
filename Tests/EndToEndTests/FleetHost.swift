// Two MX hosts on one machine: each a real Postfix on an address of its own, with its own postern-policy, postern-rate
// and postern-dns, and a store that they share.

import Foundation
import Glibc
import PostfixHarness
import Synchronization

/// One of the hosts.
final class FleetMX: Sendable {
    let name: String
    let postfix: PostfixInstance
    let policy: Daemon
    let rate: Daemon
    private let dns: Daemon
    private let folder: TemporaryFolder
    /// Of strangers' sessions: two sessions are two connections.
    private let port = Atomic<UInt16>(20_000)

    /// - Parameter number: its place: `mx1.example.org` on 127.0.0.1.
    /// - Parameter store: the lines of `[store]`.
    init(_ number: Int, store: String) throws {
        name = "mx\(number).example.org"
        var settings = PostfixSettings()
        settings.hostName = name
        settings.address = "127.0.0.\(number)"
        settings.isChrooted = true
        settings.mainLines = [
            // As contrib/postfix/main.cf.policy and main.cf.rate have them, one behind the other; but no time limit ends
            // on a slow machine and makes DUNNO of an answer.
            """
            smtpd_recipient_restrictions = reject_unauth_destination,
                check_policy_service { unix:postern/policy.sock, timeout=100s, default_action=DUNNO },
                check_policy_service { unix:postern/rate.sock, timeout=100s, default_action=DUNNO }
            """,
            """
            smtpd_end_of_data_restrictions =
                check_policy_service { unix:postern/rate.sock, timeout=100s, default_action=DUNNO }
            """,
            "virtual_mailbox_domains = example.org",
            "in_flow_delay = 0", "smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 100000",
            "smtpd_hard_error_limit = 100000",
        ]
        postfix = try PostfixInstance(settings)
        folder = try TemporaryFolder(isGuarded: true)
        try folder.shareRunAndState()
        try folder.write(
            "static.zone",
            """
            $TTL 300
            example.net. IN SOA ns.example.net. admin.example.net. 1 3600 600 86400 60

            """)
        let path = try folder.write(
            "postern.toml",
            """
            [host]
            name = "\(name)"
            networks = []
            \(postfix.places(of: ["policy", "rate"], in: folder.path))
            [greylist]
            clients = "all"
            delay = "1s"
            [[limit]]
            name = "few"
            per = ["client"]
            clients = ["192.0.2.0/24"]
            count = "recipients"
            allow = ["4/1h"]
            action = "defer 4.7.1 Slow down"
            [[limit]]
            name = "many"
            per = ["client"]
            count = "recipients"
            allow = ["100000/1h"]
            action = "defer 4.7.1 Slow down"
            [store]
            \(store)

            """
        ).path
        dns = try Daemon("postern-dns", configuration: path)
        policy = try Daemon("postern-policy", configuration: path, as: .of("postern-policy"))
        rate = try Daemon("postern-rate", configuration: path, as: .of("postern-rate"))
    }

    /// All of it goes at once, as a machine without power.
    func die() {
        policy.kill()
        rate.kill()
        dns.kill()
        postfix.stop()
    }

    /// Runs the CLI.
    func postern(_ arguments: [String]) throws -> ProgramResult {
        try Program.run(try Products.path("postern"), arguments + ["--config", folder.file("postern.toml").path])
    }

    /// A metric of one of its daemons.
    func metric(_ name: String, of daemon: String, _ label: String = "") throws -> Int {
        let start = "\(name){daemon=\"\(daemon)\"\(label.isEmpty ? "" : ",\(label)")} "
        var page = ""
        // A daemon that is late is left out of a page.
        return try Await.value("the metric \(start)", context: { "\(page.suffix(2000))" }) {
            page = try postern(["metrics", "--once"]).text
            let line = page.split(separator: "\n").first { $0.hasPrefix(start) }
            return line.flatMap { Double($0.dropFirst(start.count)) }.map { Int($0) }
        }
    }

    /// Whether both daemons say that the store works.
    func sharesNow() throws -> Bool {
        try ["postern-policy", "postern-rate"].allSatisfy { daemon in
            try metric("postern_shared_store_working", of: daemon) == 1
        }
    }

    /// A stranger's session.
    func session(_ address: String) throws -> SMTPClient {
        let client = try postfix.connect()
        try client.xclient(
            name: "mx.example.net", address: address, port: port.add(1, ordering: .relaxed).newValue)
        try client.expect("EHLO mx.example.net")
        return client
    }

    /// What is answered to one recipient, in a session of its own.
    func rcpt(_ address: String, from sender: String = "ann@example.net") throws -> SMTPReply {
        try session(address).recipient("bo@example.org", from: sender)
    }

    /// What is answered to a message, or to what comes before it.
    func send(_ address: String, from sender: String = "ann@example.net") throws -> SMTPReply {
        try session(address).send(from: sender, to: ["bo@example.org"], PolicyHost.letter)
    }

    /// Waits until the queue is empty and each message that was accepted has been delivered.
    /// - Throws: which were lost, when the wait is over.
    func awaitDelivery(of accepted: [String]) throws {
        try Await.until("the queue of \(name) to be empty") { try postfix.queued().contains("is empty") }
        var lost = accepted
        // What left the queue may be on its way to the log.
        try Await.until("delivery", context: { "lost at \(name): \(lost)" }) {
            let sent = Set(postfix.logLines.filter { $0.text.contains("status=sent") }.compactMap(\.queueID))
            lost = lost.filter { !sent.contains($0) }
            return lost.isEmpty
        }
    }
}

final class FleetHost: Sendable {
    let mx1: FleetMX
    let mx2: FleetMX
    var both: [FleetMX] { [mx1, mx2] }

    /// - Parameter url: of `[store]`.
    /// - Parameter lines: more of it.
    init(url: String, timeout: String = "3s", lines: String = "") throws {
        let store = "url = \"\(url)\"\ntimeout = \"\(timeout)\"\n\(lines)"
        mx1 = try FleetMX(1, store: store)
        mx2 = try FleetMX(2, store: store)
    }

    /// Waits until both share again.
    func awaitSharing() throws {
        try Await.until(
            "the store to work", context: { both.flatMap { $0.policy.lines + $0.rate.lines }.joined(separator: "\n") }
        ) { try both.allSatisfy { try $0.sharesNow() } }
    }

    /// Waits until the store has answered each daemon once more, while mail comes in. On a busy machine a store that
    /// works again may be late now and then: what was answered stays counted.
    func awaitAnswers() throws {
        let before = try daemons.map { try $0.mx.metric(Self.roundTrips, of: $0.daemon) }
        try Await.until(
            "the store to answer",
            context: { both.flatMap { $0.policy.lines + $0.rate.lines }.joined(separator: "\n") }
        ) {
            try zip(daemons, before).allSatisfy { try $0.mx.metric(Self.roundTrips, of: $0.daemon) > $1 }
        }
    }

    private static let roundTrips = "postern_shared_store_round_trips_total"
    private var daemons: [(mx: FleetMX, daemon: String)] {
        both.flatMap { mx in ["postern-policy", "postern-rate"].map { (mx, $0) } }
    }

    /// Decisions that hosts made by themselves, of both daemons.
    func localDecisions() throws -> Int {
        try both.reduce(0) { sum, mx in
            try ["postern-policy", "postern-rate"].reduce(sum) { sum, daemon in
                sum + (try mx.metric("postern_shared_store_local_decisions_total", of: daemon))
            }
        }
    }

    /// Warnings of their daemons and worse.
    var troubles: [String] {
        both.flatMap { $0.policy.lines + $0.rate.lines }.filter { line in
            ["warning: ", "error: ", "critical: "].contains { line.contains("]: \($0)") }
        }
    }
}

/// Strangers who send mail for as long as they are let, each try at the other host; who is asked to come back does.
final class FleetLoad: Sendable {
    private struct State {
        var isRunning = false
        var tries = 0
        var wrong: [String] = []
        /// Queue ids, by host.
        var accepted: [String: [String]] = [:]
    }
    private let host: FleetHost
    private let state = Mutex(State())
    private let threads = DispatchGroup()
    static let senders = 4
    static let messagesOfOne = 5

    init(_ host: FleetHost) { self.host = host }

    var tries: Int { state.withLock { $0.tries } }
    /// What nobody should have been told.
    var wrong: [String] { state.withLock { $0.wrong } }
    func accepted(at mx: FleetMX) -> [String] { state.withLock { $0.accepted[mx.name] ?? [] } }

    func start() {
        state.withLock { $0.isRunning = true }
        for number in 0..<Self.senders {
            threads.enter()
            Thread.detachNewThread { [self] in
                defer { threads.leave() }
                var (turn, network, messages) = (0, 0, 0)
                while state.withLock({ $0.isRunning }) {
                    let mx = turn.isMultiple(of: 2) ? host.mx1 : host.mx2
                    // Each client comes from a network of its own for some messages, then from the next.
                    let client = "10.\(number).\(network % 250).7"
                    turn += 1
                    let reply = Result { try mx.send(client, from: "u\(number)@example.net") }
                    if (try? reply.get().queueID) != nil { messages += 1 }  // trouble is noted below
                    if messages == Self.messagesOfOne { (messages, network) = (0, network + 1) }
                    state.withLock { state in
                        state.tries += 1
                        switch reply {
                        case .success(let reply):
                            if let id = reply.queueID {
                                state.accepted[mx.name, default: []].append(id)
                            } else if !reply.isGreylisting {
                                state.wrong.append("\(reply)")
                            }
                        case .failure(let error): state.wrong.append("\(error)")
                        }
                    }
                }
            }
        }
    }

    func stop() {
        state.withLock { $0.isRunning = false }
        threads.wait()
    }

    /// Waits for so many more tries.
    func awaitTries(_ count: Int) throws {
        let before = tries
        try Await.until("\(count) tries") { tries >= before + count }
    }
}
