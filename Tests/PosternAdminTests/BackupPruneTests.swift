// Which archives prune keeps: rows of the rule, and folders in which something is not as it should be.

import Foundation
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("backup prune")
struct BackupPruneTests {
    /// Noon of this day of November 2026 as the machine has it, and so many days and hours later.
    private static func time(_ days: Int, _ hours: Int = 0) -> UnixTime {
        var parts = DateComponents()
        (parts.year, parts.month, parts.day, parts.hour) = (2026, 11, 21, 12)
        let noon = Calendar(identifier: .gregorian).date(from: parts) ?? .now
        return UnixTime(seconds: Int64(noon.timeIntervalSince1970)) + .seconds((days * 24 + hours) * 3600)
    }

    struct Row {
        let name: String
        let rule: PruneRule
        /// Days and hours before, newest first.
        let archives: [(Int, Int)]
        /// d, w, m, or none of them.
        let expected: [String]
    }

    // 2026-11-21 is a Saturday; its week began on the 16th.
    private static let rows = [
        Row(name: "none", rule: PruneRule(daily: 7, weekly: 4, monthly: 12), archives: [], expected: []),
        Row(
            name: "the only one", rule: PruneRule(daily: 1, weekly: 0, monthly: 0), archives: [(-900, 0)],
            expected: ["d"]),
        Row(
            name: "of a day the newest", rule: PruneRule(daily: 7, weekly: 0, monthly: 0),
            archives: [(0, 2), (0, 1), (-1, 3), (-1, 0)], expected: ["d", "", "d", ""]),
        Row(
            name: "days without an archive do not count", rule: PruneRule(daily: 2, weekly: 0, monthly: 0),
            archives: [(0, 0), (-30, 0), (-60, 0)], expected: ["d", "d", ""]),
        Row(
            name: "so many days", rule: PruneRule(daily: 2, weekly: 0, monthly: 0),
            archives: [(0, 0), (-1, 0), (-2, 0)],
            expected: ["d", "d", ""]),
        Row(
            name: "a week begins on Monday", rule: PruneRule(daily: 0, weekly: 2, monthly: 0),
            archives: [(0, 0), (-5, 0), (-6, 0), (-7, 0)], expected: ["w", "", "w", ""]),
        Row(
            name: "of a month the newest", rule: PruneRule(daily: 0, weekly: 0, monthly: 2),
            archives: [(0, 0), (-20, 0), (-21, 0), (-51, 0)], expected: ["m", "", "m", ""]),
        Row(
            name: "one archive for all three", rule: PruneRule(daily: 1, weekly: 1, monthly: 1),
            archives: [(0, 0), (-1, 0)], expected: ["dwm", ""]),
        Row(
            name: "all together", rule: PruneRule(daily: 2, weekly: 2, monthly: 2),
            archives: [(0, 0), (-1, 0), (-2, 0), (-6, 0), (-21, 0), (-22, 0), (-80, 0)],
            expected: ["dwm", "d", "", "w", "m", "", ""]),
        Row(
            name: "the newest stays whatever the numbers are", rule: PruneRule(daily: 0, weekly: 0, monthly: 1),
            archives: [(0, 0), (-1, 0)], expected: ["m", ""]),
        Row(
            name: "two of one second", rule: PruneRule(daily: 3, weekly: 0, monthly: 0), archives: [(0, 0), (0, 0)],
            expected: ["d", ""]),
    ]

    @Test("the rule")
    func rule() {
        for row in Self.rows {
            let kept = row.rule.reasons(row.archives.map { Self.time($0.0, $0.1) })
            let words = kept.map { reasons in
                PruneRule.Reason.allCases.filter(reasons.contains).map { String($0.rawValue.prefix(1)) }.joined()
            }
            #expect(words == row.expected, "\(row.name)")
        }
    }

    @Test("a daily backup of two years comes down to the numbers, and again to the same")
    func twoYears() {
        let rule = PruneRule(daily: 7, weekly: 4, monthly: 12)
        var times: [UnixTime] = []
        for day in 0..<730 {
            times.insert(Self.time(day), at: 0)
            let kept = zip(times, rule.reasons(times)).filter { !$0.1.isEmpty }.map(\.0)
            #expect(kept.first == times.first)
            #expect(kept.count <= 23)
            times = kept
        }
        // Pruned each day, a month is told by its last archive that a week or day kept to the month's end.
        #expect(times.count >= 7 + 3 + 10)
        #expect(zip(times, rule.reasons(times)).allSatisfy { !$0.1.isEmpty })
    }

    private func folder(_ names: [(String, [UInt8])]) throws -> Folder {
        let folder = try Folder()
        for (name, octets) in names { try folder.write(octets, to: name) }
        return folder
    }

    private static let archive: [UInt8] = {
        // A test that reads it finds out.
        (try? TestArchive.octets([.config(TestArchive.configuration, TestArchive.toml)])) ?? []
    }()
    private static func name(_ days: Int, host: String = "mx1.example.com") -> String {
        BackupName(host: host, created: time(days)).text
    }

    @Test("removes what no rule keeps, and nothing else")
    func removes() throws {
        let others = ["notes.txt", "postern-mx1.tar.zst", "\(Self.name(-3)).age", ".postern-9-x.partial.txt"]
        let folder = try folder(
            [0, -1, -2, -3].map { (Self.name($0), Self.archive) } + [(Self.name(-5, host: "mx2"), Self.archive)]
                + others.map { ($0, []) } + [(".postern-9-x.partial", [1])])
        let before = try folder.names
        let words = ["backup", "prune", folder.path, "--keep-daily", "2", "--keep-weekly", "0", "--keep-monthly", "0"]
        let dry = try Postern().run(words + ["--dry-run"])
        #expect(dry.status == 0)
        #expect(dry.text.contains("would be removed  \(Self.name(-2))"))
        #expect(try folder.names == before)
        let done = try Postern().run(words)
        #expect(done.text.hasSuffix("3 kept, 2 removed: \(ReportNumber.octets(Self.archive.count * 2))\n"))
        let expected = [Self.name(0), Self.name(-1), Self.name(-5, host: "mx2")] + others
        #expect(try folder.names == expected.sorted())
        #expect(try Postern().run(words).text.contains("0 removed"))
    }

    @Test("a damaged archive stays, and the last good one with it")
    func damaged() throws {
        var flipped = Self.archive
        flipped[flipped.count / 2] ^= 1
        let folder = try folder([
            (Self.name(0), flipped), (Self.name(-1), Array(Self.archive.prefix(70))), (Self.name(-2), Self.archive),
            (Self.name(-3), Self.archive), (Self.name(-4), []),
        ])
        let result = try Postern().run([
            "backup", "prune", folder.path, "--keep-daily", "1", "--keep-weekly", "0", "--keep-monthly", "0", "--json",
        ])
        #expect(result.status == 1)
        #expect(try folder.names == [Self.name(0), Self.name(-1), Self.name(-2), Self.name(-4)].sorted())
        let archives = try #require(try result.json()["archives"] as? [[String: Any]])
        #expect(archives.map { ($0["keep"] as? [String])?.first } == [nil, nil, "daily", nil, nil])
        #expect(archives.map { $0["trouble"] is NSNull } == [false, false, true, true, false])
    }

    @Test("an archive that lacks a state never takes the place of a whole one, and goes when one has come")
    func incomplete() throws {
        let lacking: [UInt8] = try {
            let files = [ArchivedFile.config(TestArchive.configuration, TestArchive.toml)]
            var manifest = try TestArchive.manifest(files)
            manifest.missing = ["facts.sqlite"]
            return try TestArchive.octets(files, manifest)
        }()
        func name(_ days: Int, _ hours: Int = 0) -> String {
            BackupName(host: "mx1", created: Self.time(days, hours)).text
        }
        let words = ["--keep-daily", "2", "--keep-weekly", "0", "--keep-monthly", "0"]
        // Of today the newer one lacks something, and of the day before; three days ago is not kept by any rule.
        let folder = try folder([
            (name(0, 2), lacking), (name(0, 1), lacking), (name(0), Self.archive), (name(-1, 1), lacking),
            (name(-1), Self.archive), (name(-3), Self.archive),
        ])
        let first = try Postern().run(["backup", "prune", folder.path] + words)
        #expect(first.status == 0, "\(first.notes)")
        #expect(try folder.names == [name(0, 2), name(0), name(-1)].sorted())
        #expect(first.text.contains("\(name(0, 2))  daily, without facts.sqlite\n"), "\(first.text)")
        // They are bounded by the same numbers, however long nothing better comes.
        for day in 1...5 { try folder.write(lacking, to: name(day)) }
        let second = try Postern().run(["backup", "prune", folder.path] + words)
        #expect(second.status == 0)
        #expect(try folder.names == [name(5), name(4), name(0), name(-1)].sorted())
        try folder.write(Self.archive, to: name(6))
        #expect(try Postern().run(["backup", "prune", folder.path] + words).status == 0)
        #expect(try folder.names == [name(6), name(0)].sorted())
    }

    @Test("before anything goes the newest whole one is read, also where one that lacks a state is newer")
    func damagedBehind() throws {
        let files = [ArchivedFile.config(TestArchive.configuration, TestArchive.toml)]
        var manifest = try TestArchive.manifest(files)
        manifest.missing = ["facts.sqlite"]
        var flipped = Self.archive
        flipped[flipped.count / 2] ^= 1
        let folder = try folder([
            (Self.name(0), try TestArchive.octets(files, manifest)), (Self.name(-1), flipped),
            (Self.name(-2), Self.archive), (Self.name(-3), Self.archive),
        ])
        let result = try Postern().run([
            "backup", "prune", folder.path, "--keep-daily", "1", "--keep-weekly", "0", "--keep-monthly", "0",
        ])
        #expect(result.status == 1)
        #expect(try folder.names == [0, -1, -2].map { Self.name($0) }.sorted())
    }

    @Test("wrong numbers are refused")
    func misuse() throws {
        let folder = try folder([(Self.name(0), Self.archive)])
        for words in [
            ["--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0"], ["--keep-daily", "-1"],
            ["--keep-weekly", "x"],
        ] { #expect(try Postern().run(["backup", "prune", folder.path] + words).status == 64) }
        #expect(try Postern().run(["backup", "prune", folder.file("none")]).status == 69)
        #expect(try folder.names == [Self.name(0)])
    }
}
