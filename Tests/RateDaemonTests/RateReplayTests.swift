// Limits tried on what postern-rate has recorded: with the records' clock, and the ends of messages that Postfix gave up.

import Foundation
import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy
import TestSupport
import Testing

@testable import postern_rate

@Suite("replaying postern-rate's requests") struct RateReplayTests {
    private final class Recorded {
        let rig: RateRig
        let folder = FileManager.default.temporaryDirectory.appending(path: "pstn-rate-\(UUID().uuidString)")
        private let recorder: RequestRecorder

        init(_ configuration: String) throws {
            rig = try RateRig(configuration)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            recorder = RequestRecorder(.rate, folder: folder.path, log: rig.log, now: rig.clock.now)
            recorder.adopt(RecordSettings(keep: .seconds(86_400), octets: 1 << 20))
        }
        deinit { try? FileManager.default.removeItem(at: folder) }

        /// - Parameter stages: of one message; without END-OF-MESSAGE Postfix gives it up.
        func message(_ number: Int, _ stages: PolicyStage...) -> [String] {
            let message = LimitedMessage(service: rig.service, recorder: recorder)
            let words = stages.map { stage in
                message.answer(RateRig.request(stage: stage, instance: "\(number)", recipients: 1)).answer.word
            }
            message.end()
            rig.clock.advance(by: .seconds(1))
            return words
        }

        func records() throws -> [RecordedRequest] {
            recorder.close()
            var records: [RecordedRequest] = []
            for file in RecordFile.all(of: .rate, in: folder.path) {
                var frames = RecordFrames()
                frames.take(try Data(contentsOf: URL(filePath: file.path))) {
                    records += RecordFormat.records(in: $0).records
                }
            }
            return records
        }
    }

    private static func limit(_ amount: Int) -> String {
        """
        [[limit]]
        name = "per account"
        per = ["sasl_username"]
        count = "recipients"
        allow = ["\(amount)/1h"]
        action = "defer 4.7.1 Slow down"

        """
    }

    /// The words of each side, record by record; ends have none.
    private func run(_ records: [RecordedRequest], _ sides: String...) throws -> [[String]] {
        let replay = try Replay(
            try sides.map { text in
                let text = "[host]\nname = \"mx1.example.org\"\n\(text)"
                let read = Configuration.read(Array(text.utf8), file: "test", folder: "/", for: .rate)
                let configuration = try #require(read.configuration)
                return ReplaySettings(policy: configuration, rate: configuration)
            })
        return records.map { record in
            replay.judge(record, at: PolicyTime(now: record.time, minute: 0, weekday: .mon)).map(\.decision.word)
        }.filter { !$0.isEmpty }
    }

    @Test("a limit made tighter refuses what it would have refused, and no more; made wider, likewise")
    func amounts() throws {
        let recorded = try Recorded(Self.limit(3))
        #expect((1...5).flatMap { recorded.message($0, .rcpt) } == ["pass", "pass", "pass", "defer", "defer"])
        recorded.rig.clock.advance(by: .seconds(4000))
        #expect(recorded.message(6, .rcpt) == ["pass"])
        let records = try recorded.records()
        #expect(records.map(\.kind).filter { $0 == .limits }.count == 6 && records.last?.kind == .end)
        #expect(
            try run(records, Self.limit(3), Self.limit(2), Self.limit(10)) == [
                ["pass", "pass", "pass"], ["pass", "pass", "pass"], ["pass", "defer", "pass"],
                ["defer", "defer", "pass"], ["defer", "defer", "pass"], ["pass", "pass", "pass"],
            ])
    }

    @Test("what a message had reserved that was given up is given back in the replay too")
    func ends() throws {
        let recorded = try Recorded(Self.limit(2))
        #expect(recorded.message(1, .rcpt, .endOfMessage) == ["pass", "pass"])
        #expect(recorded.message(2, .rcpt) == ["pass"])
        #expect(recorded.message(3, .rcpt, .endOfMessage) == ["pass", "pass"])
        #expect(recorded.message(4, .rcpt) == ["defer"])
        let records = try recorded.records()
        #expect(records.map(\.kind) == [.limits, .limits, .limits, .end, .limits, .limits, .limits, .end])
        #expect(
            try run(records, Self.limit(2)).map { $0.joined() } == ["pass", "pass", "pass", "pass", "pass", "defer"])
        let withoutEnds = records.filter { $0.kind != .end }
        #expect(try run(withoutEnds, Self.limit(2)).map { $0.joined() }.last == "defer")
    }
}
