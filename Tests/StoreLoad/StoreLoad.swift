// A process that writes ledgers until it is killed, for the tests which show that kill -9 tears nothing, and that fills
// them and tells how fast, for measurements. No test measures.
//
//   store-load facts FILE                 appends facts for ever; prints a line for each batch that is written
//   store-load greylist FILE              decides for ever, four threads; prints how many decisions are in the file
//   store-load limits FILE                counts for ever; prints how much of one key is on the disk
//   store-load fill FILE COUNT THREADS    that many new triplets, then as many decisions of mixed kinds; prints figures
//   store-load shared FILE COUNT THREADS HOST PORT    the same in a Redis or Valkey of one's own, FILE being this host's

import Glibc
import PosternAdmission
import PosternMail
import PosternSocket
import PosternStore
import Synchronization

@main enum StoreLoad {
    static func main() { Run.go(Array(CommandLine.arguments.dropFirst())) }
}

final class Counter: Sendable {
    private let value: Atomic<Int>
    init(_ value: Int) { self.value = Atomic(value) }
    func add(_ number: Int) -> Int { value.add(number, ordering: .acquiringAndReleasing).newValue }
    var current: Int { value.load(ordering: .acquiring) }
}

struct Printing: LogSink {
    func write(_ event: LogEvent) { if case .note(_, let text) = event { say("log: \(text)") } }
}

func say(_ line: String) {
    let octets = Array((line + "\n").utf8)
    _ = octets.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
}

enum Run {
    static let times = GreylistTimes(
        delay: .seconds(300), retryWithin: .seconds(172_800), remember: .seconds(35 * 86_400))

    static func go(_ arguments: [String]) {
        switch (arguments.first, arguments.dropFirst().first) {
        case ("facts"?, let path?): facts(path)
        case ("greylist"?, let path?): greylist(path)
        case ("limits"?, let path?): limits(path)
        case ("fill"?, let path?):
            let numbers = arguments.dropFirst(2).compactMap { Int($0) }
            fill(path, count: numbers.first ?? 1_000_000, threads: numbers.dropFirst().first ?? 8)
        case ("shared"?, let path?): shared(path, Array(arguments.dropFirst(2)))
        default:
            say("usage: store-load facts|greylist|limits|fill|shared FILE [COUNT THREADS [HOST PORT]]")
            exit(64)
        }
    }

    static func facts(_ path: String) {
        var limits = FactStore.Limits()
        limits.gather = .zero
        let store = FactStore(
            path: path, keep: .seconds(1_000_000), limits: limits, log: Printing(), now: WallClock.now)
        start { store.run() }
        var number = 0
        var told: UInt64 = 0
        while true {
            store.append(fact(number))
            number += 1
            while store.counters[.written] + 2000 < number { usleep(100) }
            let written = store.counters[.written]
            if written >= told + 200 {
                told = written
                say("\(written)")
            }
        }
    }

    static func greylist(_ path: String) {
        let store = GreylistStore(path: path, log: Printing(), now: WallClock.now)
        store.open()
        let done = Counter(0)
        let base = Int.random(in: 0..<1_000_000) * 4_000_000  // a run's triplets are its own
        for thread in 0..<4 { start { decide(store, base + thread * 1_000_000, done) } }
        var told = 0
        while true {
            let count = done.current
            guard count >= told + 100 else {
                usleep(100)
                continue
            }
            guard (try? store.flush()) != nil else { continue }  // the log says why
            told = count
            say("\(count)")
        }
    }

    private static func decide(_ store: GreylistStore, _ base: Int, _ done: Counter) {
        var number = 0
        while true {
            // Every fourth comes back in time, so that entries of all kinds change.
            let now = WallClock.now() + .seconds(number % 4 == 3 ? 400 : 0)
            let request = request(base + number / 4, domain: number % 2 == 0)
            guard store.decide(request, times: times, now: now) != .unavailable else { continue }
            number += 1
            _ = done.add(1)
            usleep(300)  // so that a test has less to look through
        }
    }

    /// The limit that `limits` counts for.
    static let limit = LimitTerms(
        LimitSettings(
            name: "load", per: [.saslUsername], count: .recipients,
            allow: [AllowedRate(amount: 1 << 40, span: .seconds(86_400))], action: .hold(""), ipv4Prefix: 32,
            ipv6Prefix: 64, except: [], block: .zero, window: .sliding, shadow: false), number: 0)

    static func limits(_ path: String) {
        let store = LimitStore(path: path, log: Printing(), wall: WallClock.now)
        store.open(now: WallClock.now())  // a thread of the store writes too
        var number = 0
        while true {
            for key in ["all", "key\(number % 5000)"] {
                let charge = LimitCharge(limit, LimitKey(text: key), amount: 1, isTotal: false)
                let request = LimitRequest(
                    charges: [charge], instance: [], connection: [], service: [], client: nil, account: [], totals: nil)
                _ = store.decide(request, now: WallClock.now())
            }
            number += 1
            guard number % 1000 == 0 else { continue }
            let counted = store.entries(for: LimitKey(text: "all"), now: WallClock.now()).first?.uses.first?.used ?? 0
            store.flush()
            say("\(counted)")
        }
    }

    // MARK: Measuring

    static func fill(_ path: String, count: Int, threads: Int) {
        var limits = GreylistStore.Limits()
        limits.entries = max(count * 2, limits.entries)
        let store = GreylistStore(path: path, limits: limits, log: Printing(), now: WallClock.now)
        store.open()
        let base = WallClock.now()
        let step = max(1, count / 10)
        for first in stride(from: 0, to: count, by: step) {
            let span = measured(threads, step) { number in
                _ = store.decide(request(first + number, domain: false), times: times, now: base)
            } atEnd: {
                try? store.flush()
            }  // the log says why
            say("new triplets \(first + step): \(span); file \(octets(path) / 1_048_576) MiB")
        }
        let later = base + .seconds(400)
        let some = min(count, 100_000)
        say(
            "come back and pass: "
                + measured(threads, some) { number in
                    _ = store.decide(request(number * 7 % count, domain: false), times: times, now: later)
                })
        say(
            "known clients: "
                + measured(threads, some) { number in
                    _ = store.decide(request(number * 7 % count, domain: false), times: times, now: later)
                })
        say(
            "too early, or new: "
                + measured(threads, some) { number in
                    let seed = number % 2 == 0 ? number * 13 % count : count + number
                    _ = store.decide(request(seed, domain: false), times: times, now: base)
                })
        var start = MonotonicTime.now()
        _ = store.foresee(request(1, domain: false), times: times, now: base)
        store.close()
        say("close: \((MonotonicTime.now() - start).nanoseconds / 1_000_000) ms; file \(octets(path) / 1_048_576) MiB")
        start = MonotonicTime.now()
        store.open()
        say("open: \((MonotonicTime.now() - start).nanoseconds / 1_000_000) ms; \(counts(store)); \(memory())")
        start = MonotonicTime.now()
        let removed = try? store.forget(.origin(.client(request(5, domain: false).client)))
        say("forget one client: \(removed ?? -1), \((MonotonicTime.now() - start).nanoseconds / 1_000_000) ms")
    }

    private static func counts(_ store: GreylistStore) -> String {
        guard let counts = try? store.counts() else { return "no counts" }  // then that is what is said
        return "\(counts.waiting) waiting, \(counts.passed) passed, \(counts.clients) clients"
    }

    /// Decisions a second, and their latency and CPU.
    /// - Parameter atEnd: counts too.
    static func measured(
        _ threads: Int, _ count: Int, _ body: @escaping @Sendable (Int) -> Void, atEnd: () -> Void = {}
    ) -> String {
        let latencies = Mutex<[Int64]>([])
        let left = Counter(threads)
        let start = MonotonicTime.now()
        let cpu = cpuMicroseconds()
        for thread in 0..<threads {
            Run.start {
                var mine: [Int64] = []
                for number in stride(from: thread, to: count, by: threads) {
                    let begin = MonotonicTime.now()
                    body(number)
                    mine.append((MonotonicTime.now() - begin).nanoseconds / 1000)
                }
                latencies.withLock { $0 += mine }
                _ = left.add(-1)
            }
        }
        while left.current > 0 { usleep(1000) }
        atEnd()
        let seconds = Double((MonotonicTime.now() - start).nanoseconds) / 1e9
        let used = Double(cpuMicroseconds() - cpu) / Double(count)
        let sorted = latencies.withLock { $0.sorted() }
        func share(_ part: Double) -> Int64 { sorted.isEmpty ? 0 : sorted[Int(Double(sorted.count - 1) * part)] }
        return "\(Int(Double(count) / seconds))/s, CPU \(Int(used * 10) / 10) us, "
            + "p50 \(share(0.5)) us, p99 \(share(0.99)) us, max \(share(1)) us"
    }

    private static func cpuMicroseconds() -> Int {
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000
            + Int(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
    }

    private static func memory() -> String {
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        return "\(usage.ru_maxrss / 1024) MiB at most in memory"
    }

    private static func octets(_ path: String) -> Int {
        ["", "-wal"].reduce(0) { sum, suffix in
            var status = stat()
            return sum + (stat(path + suffix, &status) == 0 ? Int(status.st_size) : 0)
        }
    }

    // MARK: What is written

    static func request(_ number: Int, domain: Bool) -> GreylistRequest {
        let mixed = UInt64(truncatingIfNeeded: number) &* 0x9E37_79B9_7F4A_7C15
        let client = Network(containing: .v4(UInt32(truncatingIfNeeded: mixed >> 20)), prefixLength: 24)
        let name = "host\(mixed % 9973).example"
        return GreylistRequest(
            client: client, sender: Array("sender.\(mixed % 99_991)@\(name)".utf8),
            recipient: Array("user\(mixed % 997)@example.org".utf8),
            identity: domain ? (try? DomainName(name)).map { .domain($0) } ?? .none : .none)  // it is a name
    }

    private static func fact(_ number: Int) -> MessageFacts {
        let domain = (try? DomainName("host\(number % 97).example")) ?? .root  // it is a name
        let helo = HELOIdentity(Array("mx.example.net".utf8))
        return MessageFacts(
            time: WallClock.now(), queueID: "Q\(number)", client: .v4(UInt32(truncatingIfNeeded: number)),
            dmarc: DMARCFinding(
                result: .pass, reason: .aligned, authorDomain: domain, organizationalDomain: domain,
                policyDomain: domain, published: DMARCPublishedPolicy(policy: .reject), policy: .reject,
                policyTag: .p, alignedSPF: domain, alignedDKIM: [domain]),
            spf: [
                SPFFinding(
                    result: .pass, reason: .matched,
                    identity: .mailFrom(MailFromIdentity(sender: Array("a@example.net".utf8), helo: helo)))
            ],
            dkim: [DKIMFinding(result: .pass, reason: .none, domain: domain, selector: domain)], disposition: .pass)
    }

    private static func start(_ body: @escaping @Sendable () -> Void) {
        var handle = pthread_t()
        let task = Unmanaged.passRetained(Body(body))  // released by runBody
        guard pthread_create(&handle, nil, runBody, task.toOpaque()) == 0 else { exit(71) }
        pthread_detach(handle)
    }
}

private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func runBody(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()  // retained by start
    return nil
}
