// The manual pages say what --help and the sample say, in a form that man(1) reads without a complaint.

import Foundation
import PosternDaemon
import Testing

@testable import PosternAdmin

@Suite("manual") struct ManualTests {
    @Test("there is a page for the CLI, the configuration and each daemon")
    func pages() {
        #expect(
            ManualCommand.pages.map(\.file) == [
                "postern.1", "postern.toml.5", "postern-dkim.8", "postern-dmarc.8", "postern-policy.8",
                "postern-rate.8",
                "postern-dns.8",
            ])
    }

    @Test("postern(1) tells of every command, its abstract and its options")
    func commands() throws {
        let text = PosternCommand.manualPage.text
        for help in PosternCommand.help(columns: 2000) where !help.words.isEmpty {
            #expect(
                text.contains(".SH \"POSTERN \(help.words.joined(separator: " ").uppercased())\"".escapedHyphens),
                "\(help.words)")
            #expect(text.contains(help.abstract.escapedHyphens), "\(help.abstract)")
        }
        #expect(text.contains("\\fB\\-\\-selector <selector>\\fR"))
    }

    @Test("postern.toml(5) tells of every key that the sample has")
    func keys() {
        let text = SampleConfiguration.manualPage.text
        for line in SampleConfiguration.text.split(separator: "\n") {
            guard let match = line.wholeMatch(of: /#(\w+) = .*/) else { continue }
            #expect(text.contains("\\fB\(match.1) = "), "\(line)")
        }
    }

    @Test("no line is taken for a request that is none")
    func requests() {
        let known: Set<String> = [".TH", ".ad", ".SH", ".SS", ".PP", ".TP", ".RS", ".RE", ".nf", ".fi"]
        for page in ManualCommand.pages {
            for line in page.text.split(separator: "\n") where line.hasPrefix(".") || line.hasPrefix("'") {
                #expect(known.contains(String(line.prefix { $0 != " " })), "\(page.file): \(line)")
            }
            #expect(!page.text.contains("\u{1b}"))
        }
    }

    @Test("groff reads every page without a warning", .enabled(if: access("/usr/bin/groff", X_OK) == 0, "needs groff"))
    func groff() throws {
        for page in ManualCommand.pages {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/groff")
            process.arguments = ["-man", "-Tutf8", "-ww", "-z"]
            let (input, errors) = (Pipe(), Pipe())
            process.standardInput = input
            process.standardError = errors
            try process.run()
            input.fileHandleForWriting.write(Data(page.text.utf8))
            try input.fileHandleForWriting.close()
            let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 0 && said.isEmpty, "\(page.file): \(said)")
        }
    }
}

extension String {
    fileprivate var escapedHyphens: String {
        replacing("\\", with: "\\e").replacing("-", with: "\\-").replacing("'", with: "\\(aq")
    }
}
