// Keys of one directory take turns: who signs, when a newer one takes over, what outlives a restart.

import Foundation
import PosternAuth
import PosternDNS
import PosternDaemon
import PosternMail
import PosternSocket
import TestSupport
import Testing

@testable import postern_dkim

@Suite("keys that take turns") struct KeySeriesTests {
    /// Keys of one directory, oldest first, and the record of each.
    final class Bench {
        let keys: [DKIMSigningKey]
        let log = RecordingLog()
        var standings = KeyStandings()
        private let records: [String: String]
        private var now = MonotonicTime(nanoseconds: 0)
        var clock = UnixTime(seconds: 1_795_000_000)

        static let keep = Duration.seconds(7 * 86_400)

        init(_ selectors: [String] = ["old", "new"], more: [String] = []) throws {
            let domain = try DomainName("example.org")
            var (keys, records): ([DKIMSigningKey], [String: String]) = ([], [:])
            for selector in selectors + more {
                let key = try PrivateKey.generate(.ed25519)
                keys.append(
                    DKIMSigningKey(
                        domain: domain, selector: try DomainName(selector), privateKey: key,
                        series: selectors.contains(selector) ? "/keys" : nil))
                records[selector] = "\(selector)._domainkey.example.org. 60 IN TXT \"\(try key.publicKeyRecord)\"\n"
            }
            (self.keys, self.records) = (keys, records)
        }

        /// Looks an hour later, as KeyWatch does. nil: DNS is silent.
        func look(_ published: [String]?) throws {
            let zone = try ZoneResolver(
                zone: (published ?? []).compactMap { records[$0] }.joined(),
                failing: published == nil
                    ? Set(try records.keys.map { try DomainName("\($0)._domainkey.example.org") }) : [])
            (now, clock) = (now + KeyStandings.interval, clock + KeyStandings.interval)
            review()
            standings.look(at: keys, isRequired: true, dns: { zone }, now: now, clock: clock, log: log)
            review()
        }

        func review() { standings.review(keys, keep: Self.keep, at: clock, log: log) }

        /// The keys that sign a message now.
        func sign() -> [String] {
            let signing = standings.signing(among: keys, isRequired: true)
            standings.used(signing, at: clock)
            return signing.map { "\($0.selector)" }
        }

        /// A restart with what was kept.
        func restart(keeping: Bool = true) {
            let written = KeyStateKeeper.written(standings.known(of: keys))
            standings = KeyStandings()
            if keeping { standings.restore(KeyStateKeeper.read(written).known) }
        }

        func lines(_ part: String) -> [String] { log.lines.filter { $0.contains(part) } }
    }

    @Test("the newer key signs once DNS publishes it, and the log says so once")
    func takeOver() throws {
        let bench = try Bench()
        #expect(bench.sign() == ["old"], "before anybody looked")
        try bench.look(["old"])
        #expect(bench.sign() == ["old"])
        #expect(bench.lines("key new._domainkey.example.org: DNS does not publish it; another").count == 1)
        try bench.look(["old", "new"])
        #expect(bench.sign() == ["new"])
        try bench.look(["old", "new"])
        #expect(
            bench.lines("takes over").map { $0.replacing(/^.*key new/, with: "key new") } == [
                "key new._domainkey.example.org: takes over from old._domainkey.example.org, whose record stays published "
                    + "for 7d more"
            ])
        #expect(bench.log.warnings.isEmpty)
    }

    @Test("silence changes nothing, before a take-over and after it")
    func silence() throws {
        let bench = try Bench()
        try bench.look(nil)
        #expect(bench.sign() == ["old"])
        try bench.look(["old"])
        try bench.look(nil)
        #expect(bench.sign() == ["old"])
        try bench.look(["old", "new"])
        try bench.look(nil)
        #expect(bench.sign() == ["new"])
        #expect(bench.lines("takes over").count == 1)
    }

    @Test("a record that goes again hands the turn back")
    func back() throws {
        let bench = try Bench()
        try bench.look(["old", "new"])
        #expect(bench.sign() == ["new"])
        try bench.look(["old"])
        #expect(bench.sign() == ["old"])
        let back = try #require(bench.lines("old._domainkey.example.org: takes over from new").first)
        #expect(!back.contains("record stays"))
        bench.clock = bench.clock + Bench.keep * 2
        bench.review()
        #expect(bench.lines("may go").isEmpty, "it signs again")
    }

    @Test("the last key is never switched off: where DNS lacks all, the one that signed goes on")
    func last() throws {
        let bench = try Bench(["a", "b", "c"])
        try bench.look([])
        #expect(bench.sign() == ["a"], "none is published, none was in use: the oldest")
        try bench.look(["b"])
        #expect(bench.sign() == ["b"])
        bench.clock = bench.clock + .seconds(1)
        try bench.look([])
        #expect(bench.sign() == ["b"])
        #expect(bench.log.warnings.count { $0.contains("it signs all the same") } > 0)
    }

    @Test("an older key's record may go after the time for it: told once, also over a restart")
    func mayGo() throws {
        let bench = try Bench()
        try bench.look(["old", "new"])
        bench.clock = bench.clock + Bench.keep + .seconds(-1)
        bench.review()
        #expect(bench.lines("may go").isEmpty)
        bench.clock = bench.clock + .seconds(1)
        bench.review()
        bench.review()
        #expect(
            bench.lines("may go").map { $0.replacing(/^.*key old/, with: "key old") } == [
                "key old._domainkey.example.org: its record may go now: revoke it by an empty p= or remove it, then remove "
                    + "its file from /keys"
            ])
        bench.restart()
        bench.review()
        #expect(bench.lines("may go").count == 1)
        try bench.look(["new"])
        #expect(bench.log.warnings.isEmpty, "a retired key's record is gone as told")
        #expect(bench.lines("key old._domainkey.example.org: its record is gone; its file may go").count == 1)
        #expect(
            KeyStandingsTests.told(bench.standings, bench.keys)["published{key=\"old._domainkey.example.org\"}"] == nil)
    }

    @Test("a clock that was put back does not keep a record for ever")
    func clockPutBack() throws {
        let bench = try Bench()
        let right = bench.clock
        bench.clock = right + .seconds(70 * 365 * 86_400)
        try bench.look(["old", "new"])
        bench.clock = right
        bench.review()
        bench.clock = right + Bench.keep
        bench.review()
        #expect(bench.lines("may go").count == 1)
    }

    @Test("after a restart at which DNS is silent the same key signs; without the file the oldest does")
    func restart() throws {
        let bench = try Bench()
        try bench.look(["old", "new"])
        #expect(bench.sign() == ["new"])
        bench.restart()
        try bench.look(nil)
        #expect(bench.sign() == ["new"])
        bench.restart(keeping: false)
        try bench.look(nil)
        #expect(bench.sign() == ["old"])
    }

    @Test("each algorithm has its turn, and a key that is named by itself signs as well")
    func algorithms() throws {
        let bench = try Bench(["e1", "e2"], more: ["alone"])
        let rsa = DKIMSigningKey(
            domain: try DomainName("example.org"), selector: try DomainName("r1"),
            privateKey: try FilterBench.rsa.get(),
            series: "/keys")
        let signing = bench.standings.signing(among: bench.keys + [rsa], isRequired: true)
        #expect(signing.map { "\($0.selector)" } == ["e1", "alone", "r1"])
    }

    @Test("the answer to `dkim keys`")
    func document() throws {
        let bench = try Bench()
        try bench.look(["old"])
        #expect(bench.sign() == ["old"])
        func told() -> [String: ControlDocument] {
            let document = bench.standings.document(of: bench.keys, isRequired: true, keep: Bench.keep)
            return Dictionary(
                uniqueKeysWithValues: (document["keys"]?.elements ?? []).map { ($0["name"]?.text ?? "", $0) })
        }
        let before = told()
        #expect(before["old._domainkey.example.org"]?["signs"] == .boolean(true))
        #expect(before["old._domainkey.example.org"]?["last_use"]?.number == bench.clock.seconds)
        #expect(before["new._domainkey.example.org"]?["signs"] == .boolean(false))
        #expect(before["new._domainkey.example.org"]?["published"] == .boolean(false))
        try bench.look(["old", "new"])
        let after = told()
        #expect(after["new._domainkey.example.org"]?["signs"] == .boolean(true))
        #expect(
            after["old._domainkey.example.org"]?["record_may_go"]?.number == (bench.clock + Bench.keep).seconds)
    }

    // MARK: The file

    @Test("what is written reads back; lines of no key's are ignored")
    func file() throws {
        let bench = try Bench()
        try bench.look(["old", "new"])
        #expect(bench.sign() == ["new"])
        let known = bench.standings.known(of: bench.keys)
        let written = KeyStateKeeper.written(known)
        let read = KeyStateKeeper.read(written)
        #expect(read.bad == 0 && read.known.count == 2)
        #expect(KeyStateKeeper.written(read.known) == written)
        let bad = """
            new._domainkey.example.org 1 5 6 - 0 7
            new._domainkey.example.org 2 5 6 - 0
            new._domainkey.example.org 1 -5 6 - 0
            new._domainkey.example.org 1 5 99999999999999999999 - 0
            new.example.org 1 5 6 - 0
            ._domainkey. 1 5 6 - 0
            new._domainkey.example.org 1 5 6 - x
            \u{1}

            """
        #expect(KeyStateKeeper.read(Array(bad.utf8)).bad == 8 && KeyStateKeeper.read(Array(bad.utf8)).known.isEmpty)
        Mutations.of([written, Array(bad.utf8)], count: 3000, seed: 8) { _ = KeyStateKeeper.read($0) }
    }

    @Test("it is written at most once a minute and at the stop; one warning when it cannot be, or is damaged")
    func keeper() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "dkim-keys-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }  // what stays behind is the system's to clean
        let path = "\(folder)/dkim-keys"
        let bench = try Bench()
        let keeper = KeyStateKeeper(folder: folder, log: bench.log)
        keeper.load(into: bench.standings, for: bench.keys)
        #expect(bench.log.warnings.isEmpty, "there is no file yet")
        var now = MonotonicTime.now()
        func save(isLast: Bool = false) -> Bool {
            try? FileManager.default.removeItem(atPath: path)  // there may be none
            keeper.save(bench.standings, of: bench.keys, isLast: isLast, now: now)
            return FileManager.default.fileExists(atPath: path)
        }
        #expect(!save(), "nothing has changed")
        #expect(bench.sign() == ["old"])
        #expect(save())
        #expect(bench.sign() == ["old"])
        #expect(!save(), "so soon")
        #expect(save(isLast: true))
        now = now + KeyStateKeeper.interval
        #expect(!save())
        #expect(bench.sign() == ["old"])
        #expect(save())

        let next = KeyStandings()
        try Data(Array(try String(contentsOfFile: path, encoding: .utf8).utf8) + Array("rubbish\n".utf8))
            .write(to: URL(filePath: path))
        KeyStateKeeper(folder: folder, log: bench.log).load(into: next, for: bench.keys)
        #expect(next.known(of: bench.keys).values.contains { $0.lastUse == bench.clock })
        #expect(bench.log.warnings == ["\(path): 1 line of no key's; ignored"])

        try FileManager.default.removeItem(atPath: folder)
        for _ in 0..<3 {
            now = now + KeyStateKeeper.interval
            #expect(bench.sign() == ["old"])
            #expect(!save())
        }
        #expect(bench.log.warnings.count == 2)
        #expect(bench.log.warnings.last?.hasSuffix("; what is known of keys will not outlive a restart") == true)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        now = now + KeyStateKeeper.interval
        #expect(save(), "what could not be kept is kept later")
    }

    @Test("hosts without a key directory have no file")
    func none() throws {
        let bench = try Bench([], more: ["alone"])
        let keeper = KeyStateKeeper(folder: "/nonexistent", log: bench.log)
        keeper.load(into: bench.standings, for: bench.keys)
        #expect(bench.sign() == ["alone"])
        keeper.save(bench.standings, of: bench.keys, isLast: true)
        #expect(bench.log.lines.isEmpty)
    }
}
