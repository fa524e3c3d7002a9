// limits.journal: what a restart, a crash, a damaged file and a full disk leave of what was counted.

import Foundation
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

/// A state folder with a journal, a wall clock and a ledger on them.
private final class LimitBench {
    let folder: TemporaryFolder
    let log = RecordingLog()
    let clock = ScriptedClock()
    let terms: LimitTerms
    let fixed: LimitTerms
    private(set) var store: LimitStore

    static let name = LimitStore.name

    init(_ folder: TemporaryFolder? = nil) throws {
        self.folder = try folder ?? TemporaryFolder()
        func settings(_ name: String, _ window: LimitWindow) -> LimitSettings {
            LimitSettings(
                name: name, per: [.saslUsername], count: .recipients,
                allow: [
                    AllowedRate(amount: 10, span: .seconds(3600)), AllowedRate(amount: 1 << 40, span: .seconds(7200)),
                ],
                action: .hold(""), ipv4Prefix: 32, ipv6Prefix: 64, except: [], block: .zero, window: window,
                shadow: false)
        }
        terms = LimitTerms(settings("sliding", .sliding), number: 0)
        fixed = LimitTerms(settings("fixed", .fixed), number: 1)
        store = LimitStore(path: self.folder.path(Self.name), log: log, wall: { [clock] in clock.now() })
        store.prepare([terms, fixed])
        store.open(now: clock.now(), writes: false)
    }

    /// As after a kill: what was not flushed is lost.
    func restart() {
        store = LimitStore(path: folder.path(Self.name), log: log, wall: { [clock] in clock.now() })
        store.prepare([terms, fixed])
        store.open(now: clock.now(), writes: false)
    }

    func charge(_ key: String, _ amount: Int) {
        let key = LimitKey(text: key)
        let charges = [terms, fixed].map { LimitCharge($0, key, amount: amount, isTotal: false) }
        let request = LimitRequest(
            charges: charges, instance: [], connection: [], service: [], client: nil, account: [], totals: nil)
        _ = store.decide(request, now: clock.now())
    }

    /// In the first span of both limits.
    func used(_ key: String) -> [Int] {
        store.entries(for: LimitKey(text: key), now: clock.now()).compactMap { $0.uses.first?.used }
    }
}

@Suite(.serialized) struct LimitJournalTests {
    @Test("what was flushed is there after a restart, and leaves when its time has come") func restart() throws {
        let bench = try LimitBench()
        bench.charge("ann", 3)
        bench.clock.advance(by: .seconds(1800))
        bench.charge("ann", 2)
        bench.store.flush()
        bench.charge("ann", 1)
        bench.restart()
        #expect(bench.used("ann") == [5, 5])
        #expect(try bench.folder.mode(LimitBench.name) == 0o600)
        bench.clock.advance(by: .seconds(1801))
        bench.restart()
        #expect(bench.used("ann") == [5, 0], "the fixed window is over")
        bench.clock.advance(by: .seconds(300))
        #expect(bench.used("ann") == [2, 0])
        bench.clock.advance(by: .seconds(1800))
        #expect(bench.used("ann") == [0, 0])
        #expect(bench.log.warnings.isEmpty)
    }

    @Test("while we are down time goes on, but never back") func down() throws {
        let bench = try LimitBench()
        bench.charge("ann", 10)
        bench.store.flush()
        bench.clock.advance(by: .seconds(-86_400))
        bench.restart()
        #expect(bench.used("ann") == [10, 10])
        bench.clock.advance(by: .seconds(3901))
        #expect(bench.used("ann") == [0, 0])
    }

    @Test("blocks and what an admin clears are kept") func admin() throws {
        let bench = try LimitBench()
        bench.charge("ann", 10)
        bench.charge("bo", 10)
        let now = bench.clock.now()
        #expect(bench.store.block(LimitKey(text: "bo"), limit: nil, for: .seconds(86_400), now: now) == 2)
        bench.store.flush()
        #expect(bench.store.clear(LimitKey(text: "ann"), limit: nil, now: now) == 2)
        bench.store.flush()
        bench.restart()
        #expect(bench.used("ann") == [0, 0])
        let entries = bench.store.entries(for: LimitKey(text: "bo"), now: now)
        #expect(entries.map(\.isBlockedByAdmin) == [true, true])
        #expect(entries.map(\.blockedFor) == [.seconds(86_400), .seconds(86_400)])
    }

    @Test("a thread writes, and close writes the rest") func thread() throws {
        let bench = try LimitBench()
        bench.store.open(now: bench.clock.now())
        bench.charge("ann", 4)
        bench.store.close()
        bench.restart()
        #expect(bench.used("ann") == [4, 4])
    }

    @Test("the file is made anew before it grows without end") func growth() throws {
        let bench = try LimitBench()
        for number in 0..<40_000 {
            bench.charge("key-with-a-name-of-some-length-\(number % 100)@example.org", 0)
            bench.charge("key-with-a-name-of-some-length-\(number % 100)@example.org", 1)
            if number % 50 == 49 {
                bench.clock.advance(by: .seconds(60))
                bench.store.flush()
            }
        }
        #expect(try bench.folder.octets(LimitBench.name).count < 5 << 20)
        bench.restart()
        #expect(bench.used("key-with-a-name-of-some-length-99@example.org").first ?? 0 > 0)
        #expect(try bench.folder.names == [LimitBench.name])
    }

    @Test("kill -9 tears nothing, and what was flushed is there") func killed() throws {
        let folder = try TemporaryFolder()
        let path = folder.path(LimitStore.name)
        for round in 0..<6 {
            let told = try KillTests().run("limits", path, lines: 3 + 4 * round)
            let log = RecordingLog()
            let store = LimitStore(path: path, log: log, wall: Self.wall)
            store.open(now: Self.wall(), writes: false)
            let used = store.entries(for: LimitKey(text: "all"), now: Self.wall()).first?.uses.first?.used ?? 0
            #expect(used >= told && told > 0)
            // A frame may have been on its way: its end is missing, and told of.
            #expect(log.warnings.count <= 1)
        }
    }

    // MARK: Damage

    @Test("a damaged end is left out with one warning, from wherever it begins") func damagedEnd() throws {
        let bench = try LimitBench()
        bench.charge("ann", 3)
        bench.store.flush()
        let whole = try bench.folder.octets(LimitBench.name)
        bench.charge("bo", 2)
        bench.store.flush()
        let longer = try bench.folder.octets(LimitBench.name)
        try #require(longer.count > whole.count + 30)
        for length in stride(from: whole.count + 1, to: longer.count, by: 7) {
            let other = try LimitBench()
            try other.folder.write(Array(longer.prefix(length)), to: LimitBench.name)
            other.restart()
            #expect(other.used("ann") == [3, 3])
            #expect(other.used("bo").isEmpty)
            #expect(other.log.warnings.count == 1)
            other.store.flush()
            other.restart()
            #expect(other.used("ann") == [3, 3])
            #expect(other.log.warnings.count == 1)
        }
        var flipped = longer
        flipped[whole.count + 20] ^= 1
        let other = try LimitBench()
        try other.folder.write(flipped, to: LimitBench.name)
        other.restart()
        #expect(other.used("ann") == [3, 3] && other.log.warnings.count == 1)
    }

    @Test("a file of which nothing can be read is set aside") func damagedWhole() throws {
        for octets in [Array("something else".utf8), Array("PST".utf8), Array("PSTNLIM1".utf8), [0]] {
            let bench = try LimitBench()
            try bench.folder.write(octets, to: LimitBench.name)
            bench.restart()
            #expect(bench.log.warnings.count == 1)
            bench.charge("ann", 1)
            bench.store.flush()
            let names = try bench.folder.names
            #expect(names.count == 2 && names.last?.hasPrefix("limits.journal.damaged-") == true)
            bench.restart()
            #expect(bench.used("ann") == [1, 1])
        }
    }

    @Test("no link is followed, and what is left of a crash is no hindrance") func places() throws {
        let bench = try LimitBench()
        try bench.folder.write(Array("precious".utf8), to: "precious")
        symlink(bench.folder.path("precious"), bench.folder.path(LimitBench.name))
        try bench.folder.write(Array("half".utf8), to: LimitBench.name + ".new")
        bench.restart()
        bench.charge("ann", 1)
        bench.store.flush()
        #expect(try bench.folder.octets("precious") == Array("precious".utf8))
        bench.restart()
        #expect(bench.used("ann") == [1, 1])
        #expect(bench.log.warnings.count == 1)
    }

    @Test("deleted while it is in use: it is written anew") func deleted() throws {
        let bench = try LimitBench()
        bench.charge("ann", 1)
        bench.store.flush()
        unlink(bench.folder.path(LimitBench.name))
        bench.store.flush()
        bench.restart()
        #expect(bench.used("ann") == [1, 1])
        #expect(bench.log.warnings.count == 1)
    }

    @Test("full disk: one warning, it goes on in memory, and recovers", .enabled(if: SmallDisk.isPossible))
    func full() throws {
        let disk = try SmallDisk()
        let bench = try LimitBench(disk.folder)
        bench.charge("first", 1)
        bench.store.flush()
        try disk.fill()
        for round in 0..<5 {
            for number in 0..<400 { bench.charge("key-\(round)-\(number)", 1) }
            bench.store.flush()
            bench.clock.advance(by: .seconds(11))
        }
        #expect(bench.log.warnings.count == 1)
        #expect(bench.used("key-4-399") == [1, 1])
        try disk.empty()
        bench.clock.advance(by: .seconds(11))
        bench.store.flush()
        #expect(bench.log.lines.last?.hasSuffix("works again") == true)
        bench.restart()
        #expect(bench.used("first") == [1, 1])
        #expect(bench.used("key-0-0") == [1, 1])
        #expect(bench.used("key-4-399") == [1, 1])
    }

    @Test("read-only from the start, and writable again", .enabled(if: SmallDisk.isPossible)) func readOnly() throws {
        let disk = try SmallDisk()
        let first = try LimitBench(disk.folder)
        first.charge("ann", 3)
        first.store.close()
        try disk.remount(readOnly: true)
        let bench = try LimitBench(disk.folder)
        #expect(bench.used("ann") == [3, 3])
        bench.charge("ann", 1)
        for _ in 0..<3 { bench.store.flush() }
        #expect(bench.log.warnings.count == 1)
        try disk.remount(readOnly: false)
        bench.clock.advance(by: .seconds(11))
        bench.store.flush()
        bench.restart()
        #expect(bench.used("ann") == [4, 4])
    }

    private static func wall() -> UnixTime { UnixTime(seconds: Int64(Date().timeIntervalSince1970)) }

    // MARK: Format

    @Test("what is written reads the same, in one piece and octet by octet") func pieces() throws {
        let (octets, rows, time) = try sample()
        for size in [octets.count, 1, 7, 64] {
            var reader = LimitJournalReader()
            var read: [LimitRow] = []
            var rest = octets[...]
            while !rest.isEmpty {
                reader.read(rest.prefix(size)) { read += $0 }
                rest = rest.dropFirst(size)
            }
            #expect(read == rows && reader.time == time && !reader.isCut)
            #expect(reader.validOctets == octets.count)
        }
    }

    @Test("no octets trap the reader, and what it reads can be counted on") func mutations() throws {
        let (octets, _, _) = try sample()
        // Checksums are put right again, or nothing behind them would be reached.
        Mutations.of([octets], count: 4000, seed: 7) { text in
            let mended = Self.mended(text)
            for text in [text, mended] {
                var reader = LimitJournalReader()
                let memory = LimitMemory(maxKeys: 50, tracksChanges: true)
                reader.read(text) { memory.restore($0) }
                guard let time = reader.time else { continue }
                memory.resume(at: time, now: UnixTime(seconds: 0))
                let page = memory.entries(onlyOver: false, after: nil, limit: 100, now: UnixTime(seconds: 1))
                #expect(page.entries.count <= 50)
                // What it holds is written and read again.
                var cursor: LimitCursor? = LimitCursor()
                var writer = LimitJournalWriter()
                let rows = memory.rows(after: &cursor, atMost: 100)
                let frames = writer.frames(rows, time: memory.takeChanges(atMost: 0).time, wall: UnixTime(seconds: 1))
                var second = LimitJournalReader()
                var read: [LimitRow] = []
                second.read(LimitJournalFormat.magic + frames) { read += $0 }
                #expect(read == rows && !second.isCut)
            }
        }
    }

    private static func mended(_ text: [UInt8]) -> [UInt8] {
        var octets = text
        var place = LimitJournalFormat.magic.count
        for _ in 0..<100 where place + 8 <= octets.count {
            let length = octets[place..<(place + 4)].reversed().reduce(0) { $0 << 8 | Int($1) }
            let start = place + 8
            guard start + length <= octets.count else { break }
            var crc: [UInt8] = []
            FramedOctets.append(word: FramedOctets.crc(octets[start..<(start + length)]), to: &crc)
            octets.replaceSubrange((place + 4)..<(place + 8), with: crc)
            place = start + length
        }
        return octets
    }

    private func sample() throws -> (octets: [UInt8], rows: [LimitRow], time: Int64) {
        var random = SeededRandom(seed: 1)
        let shapes = [
            LimitShape(
                name: "a", per: "sasl_username", count: .recipients, spans: [60_000, 3_600_000], window: .sliding,
                isWide: false),
            LimitShape(
                name: "b", per: "client/32/64", count: .octets, spans: [86_400_000], window: .sliding, isWide: true),
            LimitShape(name: "ü", per: "helo", count: .connections, spans: [60_000], window: .fixed, isWide: false),
        ].compactMap(\.self)
        try #require(shapes.count == 3)
        var rows: [LimitRow] = []
        for number in 0..<30 {
            let shape = shapes[number % 3]
            let words = (0..<shape.words).map { _ in
                Bool.random(using: &random) ? 0 : UInt32.random(in: 0 ... .max, using: &random)
            }
            rows.append(
                LimitRow(
                    shape: shape, key: LimitKey(text: "key\(number)"), last: 1_790_000_000_000 + Int64(number),
                    blockedUntil: number % 5 == 0 ? 1_790_000_100_000 : 0, isBlockedByAdmin: number % 10 == 0,
                    words: words))
        }
        var writer = LimitJournalWriter()
        var octets = LimitJournalFormat.magic
        let time: Int64 = 1_790_000_000_500
        octets += writer.frames(rows.prefix(20), time: time - 1, wall: UnixTime(seconds: 1_790_000_000))
        octets += writer.frames(rows.dropFirst(20), time: time, wall: UnixTime(seconds: 1_790_000_001))
        return (octets, rows, time)
    }

    @Test("CRC-32C") func checksum() {
        #expect(FramedOctets.crc(Array("123456789".utf8)[...]) == 0xE306_9283)  // RFC 3720 §B.4's polynomial
        #expect(FramedOctets.crc([UInt8](repeating: 0, count: 32)[...]) == 0x8A91_36AA)  // RFC 3720 §B.4
    }
}
