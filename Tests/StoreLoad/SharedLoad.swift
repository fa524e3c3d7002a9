// Measures the greylist that hosts share: decisions a second, what they cost here and in the server, and how much memory
// the server has for a triplet. The server is to be one that nobody else uses: it is asked for its own figures.

import Glibc
import PosternAdmission
import PosternMail
import PosternSocket
import PosternStore

extension Run {
    /// - Parameter words: count, threads, host, port.
    static func shared(_ path: String, _ words: [String]) {
        let numbers = words.map { Int($0) }
        guard words.count == 4, let count = numbers[0], let threads = numbers[1], let port = UInt16(words[3]) else {
            say("usage: store-load shared FILE COUNT THREADS HOST PORT")
            exit(64)
        }
        let server = StoreURL.Server(host: words[2], port: port)
        let store = SharedStore(
            StoreURL(scheme: .redis, servers: [server], master: nil, database: 0),
            StoreSettings(url: nil, timeout: .seconds(3)), log: Printing())
        let local = GreylistStore(path: path, log: Printing(), now: WallClock.now)
        let ledger = SharedGreylist(store, local: local, log: Printing())
        ledger.open()
        let empty = memory(store)
        let step = max(1, count / 4)
        for first in stride(from: 0, to: count, by: step) {
            let server = serverMicroseconds(store)
            let span = measured(threads, step) { number in
                _ = ledger.decide(request(first + number, domain: false), times: times, now: WallClock.now())
            }
            let used = (memory(store) - empty) / max(1, min(count, first + step))
            say("new triplets \(first + step): \(span); \(cost(store, server, step)); \(used) octets each")
        }
        // Whoever has come before has waited long enough.
        let later = GreylistTimes(delay: .milliseconds(1), retryWithin: times.retryWithin, remember: times.remember)
        let some = min(count, 100_000)
        for what in ["come back and pass", "known clients", "known clients again"] {
            let server = serverMicroseconds(store)
            let span = measured(threads, some) { number in
                _ = ledger.decide(request(number * 7 % count, domain: false), times: later, now: WallClock.now())
            }
            say("\(what): \(span); \(cost(store, server, some))")
        }
        var start = MonotonicTime.now()
        guard let counts = try? ledger.counts() else { return say("no counts") }  // the log says why
        say("counts: \(counts) in \((MonotonicTime.now() - start).nanoseconds / 1_000_000) ms")
        start = MonotonicTime.now()
        let removed = try? ledger.forget(.origin(.client(request(7, domain: false).client)))  // likewise
        say("forget one client: \(removed ?? -1), \((MonotonicTime.now() - start).nanoseconds / 1_000_000) ms")
        for reading in ledger.readings + store.readings where reading.value > 0 {
            say("\(reading.name) \(reading.value)")
        }
        ledger.close()
    }

    private static func cost(_ store: SharedStore, _ before: Int, _ count: Int) -> String {
        let tenths = (serverMicroseconds(store) - before) * 10 / max(1, count)
        return "server's CPU \(tenths / 10).\(tenths % 10) us"
    }

    /// Source: INFO of the Redis manual.
    private static func info(_ store: SharedStore, _ section: String, _ name: String) -> Double {
        let reply = try? store.command([Array("INFO".utf8), Array(section.utf8)])  // then there is no figure
        let line = reply?.text?.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }
        return line.flatMap { Double($0.dropFirst(name.count + 1)) } ?? 0
    }

    private static func memory(_ store: SharedStore) -> Int { Int(info(store, "memory", "used_memory")) }

    private static func serverMicroseconds(_ store: SharedStore) -> Int {
        Int((info(store, "cpu", "used_cpu_user") + info(store, "cpu", "used_cpu_sys")) * 1_000_000)
    }
}
