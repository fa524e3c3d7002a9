// The files of recorded requests: 0600, bounded by age and size, gone when recording is switched off; and trouble with
// them, which no mail notices.

import Foundation
import PosternAdmission
import PosternDaemon
import PosternMail
import TestSupport
import Testing

final class RecordFolder {
    let url = URL(filePath: NSTemporaryDirectory()).appending(path: "pstn-records-\(UUID().uuidString)")
    var path: String { url.path }

    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }

    func files(_ keeper: RecordKeeper = .policy) -> [RecordFile] { RecordFile.all(of: keeper, in: path) }

    func records(_ keeper: RecordKeeper = .policy) throws -> [RecordedRequest] {
        try files(keeper).flatMap {
            RecordFormatTests.read(Array(try Data(contentsOf: URL(filePath: $0.path)))).records
        }
    }
}

@Suite("recording") struct RequestRecorderTests {
    private let log = RecordingLog()
    private let clock = ScriptedClock()
    static let week = RecordSettings(keep: .seconds(7 * 86_400), octets: 256 << 20)

    private func recorder(_ folder: RecordFolder, _ settings: RecordSettings = Self.week) -> RequestRecorder {
        let recorder = RequestRecorder(.policy, folder: folder.path, log: log, now: clock.now)
        recorder.adopt(settings)
        return recorder
    }

    private func record(_ number: Int) -> RecordedRequest {
        RecordedRequest(
            .policy, at: clock.now(), Recipient(instance: "\(number)").request, RecordedDecision(word: "pass"))
    }

    private func counted(_ recorder: RequestRecorder, _ outcome: String) -> UInt64? {
        recorder.counters.first { $0.name.label?.value == outcome }?.value
    }

    @Test("what is recorded is in a file that only its owner can read")
    func written() throws {
        let folder = try RecordFolder()
        let recorder = recorder(folder)
        #expect(recorder.isRecording && folder.files().isEmpty)
        let records = (0..<100).map { record($0) }
        records.forEach(recorder.record)
        recorder.close()
        #expect(RecordFormatTests.areSame(try folder.records(), records))
        let file = try #require(folder.files().first)
        let attributes = try FileManager.default.attributesOfItem(atPath: file.path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(counted(recorder, "written") == 100 && counted(recorder, "dropped") == 0)
        #expect(recorder.gauges.map(\.value) == [UInt64(file.octets)])
        #expect(folder.files(.rate).isEmpty)
    }

    @Test("without record nothing is kept, and what was kept goes")
    func off() throws {
        let folder = try RecordFolder()
        let recorder = recorder(folder)
        recorder.record(record(1))
        recorder.write()
        #expect(folder.files().count == 1)
        try Data("theirs".utf8).write(to: folder.url.appending(path: "policy-requests.x"))
        try Data("theirs".utf8).write(to: folder.url.appending(path: "rate-requests.1"))
        recorder.adopt(RecordSettings(keep: .zero, octets: 1 << 20))
        #expect(!recorder.isRecording && folder.files().isEmpty && folder.files(.rate).count == 1)
        #expect(FileManager.default.fileExists(atPath: folder.path + "/policy-requests.x"))
        recorder.record(record(2))  // of a message that was being judged
        recorder.close()
        #expect(folder.files().isEmpty)
    }

    @Test("the size is kept: the oldest go, and the newest are there")
    func bounded() throws {
        let folder = try RecordFolder()
        let recorder = recorder(folder, RecordSettings(keep: .seconds(86_400), octets: 1 << 20))
        let count = 20_000
        for number in 0..<count {
            recorder.record(record(number))
            guard number % 200 == 199 else { continue }
            clock.advance(by: .seconds(1))
            recorder.write()
            let octets = folder.files().reduce(0) { $0 + $1.octets }
            #expect(octets <= 1 << 20, "after \(number)")
        }
        recorder.close()
        let kept = try folder.records()
        let first = try #require(kept.first.flatMap { Int(String(decoding: $0.request[.instance], as: UTF8.self)) })
        #expect(first > 0 && kept.count == count - first)  // none is missing between
        #expect(kept.count > 3000 && folder.files().count > 8)
        #expect(counted(recorder, "written") == UInt64(count))
    }

    @Test("the age is kept: a file goes when all of it is older")
    func pruned() throws {
        let folder = try RecordFolder()
        let recorder = recorder(folder, RecordSettings(keep: .seconds(16 * 60), octets: 256 << 20))
        recorder.record(record(1))
        recorder.write()
        let old = try #require(folder.files().first)
        // By the file's own time: another clock than the test's.
        let age = clock.now() + .seconds(-17 * 60)
        clock.advance(by: .seconds(120))
        recorder.write()  // ends the file
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: TimeInterval(age.seconds))], ofItemAtPath: old.path)
        recorder.record(record(2))
        clock.advance(by: .seconds(120))
        recorder.write()
        recorder.close()
        #expect(RecordFormatTests.areSame(try folder.records(), [record2(at: -120)]))
    }

    private func record2(at seconds: Int64) -> RecordedRequest {
        RecordedRequest(
            .policy, at: clock.now() + .seconds(seconds), Recipient(instance: "2").request,
            RecordedDecision(word: "pass"))
    }

    @Test("a folder that is gone: one warning, records are counted as dropped, and it goes on when it is back")
    func trouble() throws {
        let folder = try RecordFolder()
        try FileManager.default.removeItem(at: folder.url)
        let recorder = recorder(folder)
        for number in 0..<3 {
            recorder.record(record(number))
            recorder.write()
            clock.advance(by: .seconds(11))
        }
        #expect(counted(recorder, "dropped") == 3)
        #expect(log.warnings.count == 1, "\(log.warnings)")
        try FileManager.default.createDirectory(at: folder.url, withIntermediateDirectories: true)
        let last = record(4)
        recorder.record(last)
        recorder.close()
        #expect(RecordFormatTests.areSame(try folder.records(), [last]) && counted(recorder, "written") == 1)
    }

    @Test("what nobody writes fast enough is dropped and counted; a request does not wait")
    func full() throws {
        let folder = try RecordFolder()
        let recorder = RequestRecorder(.policy, folder: folder.path, log: log, now: clock.now)
        let record = record(1)
        for _ in 0..<80_000 { recorder.record(record) }  // no thread writes before it is switched on
        let dropped = try #require(counted(recorder, "dropped"))
        #expect(dropped > 0 && dropped < 80_000)
    }
}
