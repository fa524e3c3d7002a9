// `postern backup prune` by the calendar of a real time zone: days of 23 and 25 hours, the year's end, and weeks that
// belong to two years. Archives are told by their names; what is in them is one and the same.

import Foundation
import PostfixHarness
import Testing

@Suite("backups, by the calendar") struct BackupCalendarTests {
    struct Row: Sendable {
        let name: String
        /// `--keep-…`, with its number; the others are 0.
        let rule: (key: String, number: Int)
        /// Names' times, UTC, newest first.
        let times: [String]
        /// Those that stay.
        let kept: [String]
    }

    /// Central European time: UTC+1, in summer UTC+2. POSIX's own form, so that no package is needed (tzset(3)).
    private static let zone = "CET-1CEST,M3.5.0,M10.5.0/3"

    private static let rows = [
        // 25 October 2026 began at 22:00Z and ended at 23:00Z of the next.
        Row(
            name: "a day of 25 hours is one day", rule: ("daily", 9),
            times: ["20261025T230000Z", "20261025T225959Z", "20261024T220000Z", "20261024T215959Z"],
            kept: ["20261025T230000Z", "20261025T225959Z", "20261024T215959Z"]),
        Row(
            name: "the hour that comes twice belongs to one day", rule: ("daily", 9),
            times: ["20261025T013000Z", "20261025T003000Z"], kept: ["20261025T013000Z"]),
        // 29 March 2026 began at 23:00Z and ended at 22:00Z.
        Row(
            name: "a day of 23 hours is one day", rule: ("daily", 9),
            times: ["20260329T220000Z", "20260329T215959Z", "20260328T230000Z", "20260328T225959Z"],
            kept: ["20260329T220000Z", "20260329T215959Z", "20260328T225959Z"]),
        Row(
            name: "a nightly backup at 03:00 local time loses no day to the change", rule: ("daily", 9),
            times: ["20261026T020000Z", "20261025T020000Z", "20261024T010000Z", "20261023T010000Z"],
            kept: ["20261026T020000Z", "20261025T020000Z", "20261024T010000Z", "20261023T010000Z"]),
        // ISO 8601: 28 December 2026 to 3 January 2027 is 2026-W53; 30 December 2024 is of 2025-W01.
        Row(
            name: "the week of the year's end is one week", rule: ("weekly", 9),
            times: [
                "20270104T120000Z", "20270103T120000Z", "20270101T120000Z", "20261228T120000Z", "20261227T120000Z",
            ],
            kept: ["20270104T120000Z", "20270103T120000Z", "20261227T120000Z"]),
        Row(
            name: "also where it counts to the new year", rule: ("weekly", 9),
            times: ["20250105T120000Z", "20241231T120000Z", "20241230T120000Z", "20241229T120000Z"],
            kept: ["20250105T120000Z", "20241229T120000Z"]),
        Row(
            name: "a week begins on Monday, by local time", rule: ("weekly", 9),
            times: ["20261115T230000Z", "20261115T225959Z"], kept: ["20261115T230000Z", "20261115T225959Z"]),
        Row(
            name: "the year ends by local time, and January is not that of a year ago", rule: ("monthly", 9),
            times: ["20270131T120000Z", "20261231T230000Z", "20261231T225959Z", "20260115T120000Z"],
            kept: ["20270131T120000Z", "20261231T225959Z", "20260115T120000Z"]),
        Row(
            name: "29 February is a day of its own", rule: ("daily", 9),
            times: ["20280301T120000Z", "20280229T120000Z", "20280228T120000Z"],
            kept: ["20280301T120000Z", "20280229T120000Z", "20280228T120000Z"]),
    ]

    @Test("prune counts days, weeks and months as the host's calendar has them")
    func calendar() throws {
        let folder = try TemporaryFolder()
        let path = try Products.path("postern")
        let configuration = try folder.write(
            "postern.toml",
            """
            [host]
            name = "mx1.example.org"
            [listen]
            control = "\(folder.path)/run"
            [state]
            directory = "\(folder.path)"

            """
        ).path
        let made = try Program.run(
            path, ["backup", "create", "--config", configuration, "--to", folder.file("made").path])
        #expect(made.status == 0, "\(made)")
        let archive = try #require(
            try FileManager.default.contentsOfDirectory(atPath: folder.file("made").path).first)
        for (number, row) in Self.rows.enumerated() {
            let place = folder.file("\(number)").path
            try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            for time in row.times {
                try FileManager.default.copyItem(
                    atPath: folder.file("made/\(archive)").path, toPath: "\(place)/postern-mx1-\(time).tar.zst")
            }
            var words = ["backup", "prune", place]
            for key in ["daily", "weekly", "monthly"] {
                words += ["--keep-\(key)", key == row.rule.key ? "\(row.rule.number)" : "0"]
            }
            let pruned = try Program.run(path, words, environment: ["TZ": Self.zone])
            #expect(pruned.status == 0, "\(row.name): \(pruned)")
            let left = try FileManager.default.contentsOfDirectory(atPath: place)
            #expect(left.sorted() == row.kept.map { "postern-mx1-\($0).tar.zst" }.sorted(), "\(row.name)")
        }
    }
}
