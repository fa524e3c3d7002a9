// kill -9 in the middle of writing tears nothing: what was told as written is there, and the file is whole. For greylisting
// that is the promise of GreylistStore: only what was decided since the last writing is forgotten.

import Foundation
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite(.serialized) struct KillTests {
    /// Runs the program until it has told of `lines` lines, and kills it.
    /// - Returns: the last number that it told.
    func run(_ kind: String, _ path: String, lines: Int) throws -> Int {
        let process = Process()
        process.executableURL = URL(filePath: try Products.path("store-load"))
        process.arguments = [kind, path]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        var text = ""
        while text.count(where: { $0 == "\n" }) < lines {
            let data = output.fileHandleForReading.availableData
            try #require(!data.isEmpty, "it ended: \(text)")
            text += String(decoding: data, as: UTF8.self)
        }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        text += String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        #expect(!text.contains("log:"), "\(text)")
        return text.split(separator: "\n").compactMap { Int($0) }.max() ?? 0
    }

    func integrity(_ path: String) throws -> String {
        var report = ""
        let database = try Database(path: path, options: .init())
        try database.run("PRAGMA integrity_check") { row in report += row.text(0) }
        try database.run("PRAGMA foreign_key_check") { row in report += " \(row.text(0))" }
        return report
    }

    @Test("facts") func facts() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("facts.sqlite")
        var written = 0
        for round in 0..<8 {
            written += try run("facts", path, lines: 1 + round)
            let log = RecordingLog()
            let store = FactStore(path: path, keep: .seconds(10_000_000), log: log, now: { UnixTime(seconds: 0) })
            #expect(try store.count() >= written)
            var unreadable = 0
            var cursor: FactCursor?
            repeat {
                let page = try store.facts(
                    since: UnixTime(seconds: 0), before: UnixTime(nanoseconds: .max), after: cursor)
                unreadable += page.unreadable
                #expect(page.facts.allSatisfy { $0.spf.count == 1 && $0.dkim.count == 1 })
                cursor = page.next
            } while cursor != nil
            #expect(unreadable == 0)
            written = try store.count()
            store.stop()
            store.run()
            #expect(log.warnings.isEmpty)
            #expect(try integrity(path) == "ok")
        }
    }

    @Test("greylist") func greylist() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("greylist.sqlite")
        var written = 0
        for round in 0..<8 {
            let told = try run("greylist", path, lines: 3 + 2 * round)
            let log = RecordingLog()
            let store = GreylistStore(path: path, log: log, now: { UnixTime(seconds: 0) })
            try GreylistStoreTests().expectTrueCounts(store)
            let counts = try store.counts()
            // Four decisions are about one triplet, and a few meet a client that is known already.
            #expect(counts.waiting + counts.passed >= written + told / 4 * 9 / 10)
            #expect(counts.waiting > 0)
            written = counts.waiting + counts.passed
            store.close()
            #expect(log.warnings.isEmpty)
            #expect(try integrity(path) == "ok")
        }
    }
}
