// A load of requests on a policy service, as smtpd sends them: one connection each, a request, its answer, the next.
// The same for Postern and for its peers, over UNIX sockets and TCP. Triplets are new, or known from a pool, by a
// number that makes each of them, so that a run can be repeated. CPU is read from the accounts of the processes that
// work for it.

import Foundation
import Glibc
import PosternMail
import Synchronization
import TestSupport

struct PolicyLoad: Sendable {
    var service: Endpoint
    var connections = 1
    var requests = 100_000
    /// Of 100 requests so many bring a triplet that never came before; the others take one of `pool`.
    var newPercent = 100
    var pool = 10_000
    /// Tells the new triplets of one run from those of another.
    var seed = 1
    /// Logins that send by turns, neighbours far apart in memory; 0 for strangers' mail.
    var users = 0
    /// What is asked about each message.
    var stages = [PolicyStage.rcpt]
    var policyContext = ""
    /// The service and whoever else works for it; their children count too.
    var processes: [Int32] = []
    /// What every answer must begin with, so that nothing is measured by mistake.
    var expected: String?

    struct Result: Sendable {
        var requests = 0
        var seconds = 0.0
        /// How often each word was answered.
        var answers: [String: Int] = [:]
        /// Of single requests, ascending.
        var microseconds: [Int32] = []
        var cpu: [(pid: Int32, microseconds: Double)] = []
        var residentKiB: [(pid: Int32, kibibytes: Int)] = []
    }

    func run() throws -> Result {
        let next = MessageNumbers()
        _ = try load(max(connections, min(1000, requests / 10)), next)  // warm-up
        let before = processes.map { ($0, cpu($0)) }
        let start = Date()
        var result = try load(requests, next)
        result.seconds = Date().timeIntervalSince(start)
        result.cpu = before.map { ($0.0, (cpu($0.0) - $0.1) * 1_000_000 / Double(result.requests)) }
        result.residentKiB = processes.map { pid in
            (pid, ProcessAccount.tree(pid).compactMap(ProcessAccount.residentKiB).reduce(0, +))
        }
        return result
    }

    private func cpu(_ pid: Int32) -> Double {
        ProcessAccount.tree(pid).compactMap(ProcessAccount.cpuSeconds).reduce(0, +)
    }

    private func load(_ requests: Int, _ next: MessageNumbers) throws -> Result {
        let clients = try (0..<connections).map { _ in try PolicyLoadConnection(service) }
        let end = next.value.load(ordering: .relaxed) + requests
        let total = Mutex(Result())
        let failure = Mutex<String?>(nil)
        DispatchQueue.onThreads(clients.count) { number in
            do {
                let part = try ask(on: clients[number], until: end, next)
                total.withLock { total in
                    total.requests += part.requests
                    total.answers.merge(part.answers, uniquingKeysWith: +)
                    total.microseconds += part.microseconds
                }
            } catch {
                failure.withLock { $0 = $0 ?? "\(error)" }
            }
        }
        if let text = failure.withLock({ $0 }) { throw BenchError.wrongResult(text) }
        var result = total.withLock { $0 }
        result.microseconds.sort()
        return result
    }

    /// One connection's share of the messages.
    private func ask(on client: PolicyLoadConnection, until end: Int, _ next: MessageNumbers) throws -> Result {
        var result = Result()
        while true {
            let number = next.value.add(1, ordering: .relaxed).oldValue
            guard number < end else { return result }
            for stage in stages {
                let request = request(number, stage)
                let start = clock()
                let answer = try client.ask(request)
                result.microseconds.append(Int32(clamping: (clock() - start) / 1000))
                result.requests += 1
                if let expected, !answer.hasPrefix(expected) {
                    throw BenchError.wrongResult("expected an answer \(expected), got \(answer)")
                }
                result.answers[String(answer.prefix { $0 != " " }), default: 0] += 1
            }
        }
    }

    private func clock() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    // MARK: Requests

    /// Whose message it is.
    struct Triplet {
        /// Behind 11., by turns another /24.
        let client: (UInt8, UInt8, UInt8)
        let sender: String
        let recipient: String

        /// - Parameter origin: tells those of one run from those of another.
        init(origin: String, number: Int) {
            func octet(_ shift: Int) -> UInt8 { UInt8(truncatingIfNeeded: number >> shift) }
            client = (octet(8), octet(0), octet(16))
            sender = "\(origin)-\(number)@sender\(number % 3000).example"
            recipient = "r\(number % 2000)@example.org"
        }
    }

    /// The request of a message, in Postfix 3.7's order.
    func request(_ number: Int, _ stage: PolicyStage) -> [UInt8] {
        var random = SeededRandom(seed: UInt64(truncatingIfNeeded: number))
        let isNew = random.next() % 100 < UInt64(newPercent)
        let triplet = isNew ? number : Int(random.next() % UInt64(pool))
        let address = Triplet(origin: isNew ? "n\(seed)" : "k", number: triplet)
        let client = "11.\(address.client.0).\(address.client.1).\(address.client.2)"
        let name = "mx\(triplet % 5000).example.net"
        let recipient = stage == .endOfMessage ? "" : address.recipient
        let count = stage == .data || stage == .endOfMessage ? 1 : 0
        // A prime: as many messages as there are logins bring each of them once.
        let login = users > 0 ? "user\(number &* 611_953 % users)" : ""
        let text = """
            request=smtpd_access_policy
            protocol_state=\(stage.rawValue)
            protocol_name=ESMTP
            client_address=\(client)
            client_name=\(name)
            client_port=\(1024 + number % 64000)
            reverse_client_name=\(name)
            server_address=198.51.100.1
            server_port=25
            helo_name=\(name)
            sender=\(address.sender)
            recipient=\(recipient)
            recipient_count=\(count)
            queue_id=
            instance=\(seed).\(number).0
            size=4096
            etrn_domain=
            stress=
            sasl_method=\(login.isEmpty ? "" : "plain")
            sasl_username=\(login)
            sasl_sender=
            ccert_subject=
            ccert_issuer=
            ccert_fingerprint=
            ccert_pubkey_fingerprint=
            encryption_protocol=TLSv1.3
            encryption_cipher=TLS_AES_256_GCM_SHA384
            encryption_keysize=256
            policy_context=\(policyContext)


            """
        return Array(text.utf8)
    }
}

/// Hands out the numbers of messages.
private final class MessageNumbers: Sendable {
    let value = Atomic<Int>(0)
}

/// A blocking connection to a policy service; one thread uses it.
private final class PolicyLoadConnection: @unchecked Sendable {  // one thread at a time
    private let descriptor: Int32
    private var buffer = [UInt8](repeating: 0, count: 4096)

    init(_ service: Endpoint) throws {
        switch service {
        case .unix(let path):
            guard path.utf8.count <= Endpoint.maxPathOctets else { throw BenchError.usage("\(path) is too long") }
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            try connect(address, service)
        case .tcp(let host, let port):
            guard case .v4(let bits)? = IPAddress(host) else { throw BenchError.usage("\(host) is no IPv4 address") }
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = bits.bigEndian
            try connect(address, service)
        case .udp: throw BenchError.usage("a policy service has no UDP socket")
        }
    }
    deinit { close(descriptor) }

    private func connect<Address>(_ address: Address, _ service: Endpoint) throws {
        let status = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
            }
        }
        guard status == 0 else { throw BenchError.system("\(service): \(String(cString: strerror(errno)))") }
    }

    /// - Returns: what stands behind `action=`.
    func ask(_ request: [UInt8]) throws -> String {
        var sent = 0
        while sent < request.count {
            let count = request[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw BenchError.system("send: \(String(cString: strerror(errno)))") }
            sent += count
        }
        var filled = 0
        while true {
            let count = buffer.withUnsafeMutableBytes { space in
                recv(descriptor, space.baseAddress?.advanced(by: filled), space.count - filled, 0)
            }
            guard count > 0 else { throw BenchError.system("the service closed the connection") }
            filled += count
            guard filled >= 2, buffer[filled - 1] == 0x0A, buffer[filled - 2] == 0x0A else { continue }
            return String(decoding: buffer[..<(filled - 2)].dropFirst("action=".utf8.count), as: UTF8.self)
        }
    }
}

extension DispatchQueue {
    /// Runs `body` on so many threads of its own, and waits for all of them.
    static func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let group = DispatchGroup()
        for number in 0..<count {
            group.enter()
            Thread.detachNewThread {
                body(number)
                group.leave()
            }
        }
        group.wait()
    }
}
