// Whether a text is well-formed XML, by Python's parser, which nobody here wrote.

import Foundation

final class XMLChecker {
    let isWellFormed: Bool
    let trouble: String

    init(_ text: String) {
        let program = Process()
        program.executableURL = URL(filePath: "/usr/bin/python3")
        program.arguments = ["-c", "import sys, xml.dom.minidom as m; m.parseString(sys.stdin.buffer.read())"]
        let (input, errors) = (Pipe(), Pipe())
        (program.standardInput, program.standardError) = (input, errors)
        do {
            try program.run()
            try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
            try input.fileHandleForWriting.close()
        } catch {
            (isWellFormed, trouble) = (false, "\(error)")
            return
        }
        trouble = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        program.waitUntilExit()
        isWellFormed = program.terminationStatus == 0
    }
}
