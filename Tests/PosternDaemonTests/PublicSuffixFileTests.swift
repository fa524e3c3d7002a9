import Foundation
import PosternAuth
import PosternDaemon
import Testing

@Suite("the public suffix list's file")
struct PublicSuffixFileTests {
    /// Runs `body` with a file of that text.
    private func with(_ text: String, _ body: (String) throws -> Void) throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "postern-psl-\(UUID().uuidString)")
        try text.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }  // a temporary file
        try body(file.path)
    }

    @Test("a list is read")
    func good() throws {
        try with("// x\ncom\n*.ck\n!www.ck\n") { path throws in
            let list = try PublicSuffixFile.load(path: path)
            #expect(list.count == 3)
        }
    }

    @Test("what is no list is told", arguments: ["", "// nothing but words\n"])
    func empty(_ text: String) throws {
        try with(text) { path in
            #expect { try PublicSuffixFile.load(path: path) } throws: { "\($0)".contains("found no rule in it") }
        }
    }

    @Test("what cannot be read is told", arguments: ["/nonexistent/list.dat", "/dev/null", "/"])
    func unreadable(_ path: String) {
        #expect { try PublicSuffixFile.load(path: path) } throws: {
            "\($0)".hasPrefix("\(path): expected the public suffix list, found ")
        }
    }
}
