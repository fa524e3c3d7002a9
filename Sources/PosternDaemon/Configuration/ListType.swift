// Lists: an array of values, or of values and `"file:NAME"`, or one `"file:NAME"` alone. A file holds one value a line;
// empty lines and what follows `#` at a line's beginning or after white space are left out. NAME is relative to the
// configuration's folder.

internal import PosternMail

extension ValueType {
    /// Longest list file, in octets: a few hundred thousand addresses.
    private static var maxListOctets: Int { 16 << 20 }

    /// - Parameter least: fewest values.
    /// - Parameter most: most values, those of files counted.
    static func list<Element>(
        of type: TextType<Element>, atLeast least: Int = 0, atMost most: Int = 10_000
    ) -> ValueType where Value == [Element] {
        ValueType(
            read: { node, reader in
                var collected: [Element]? = []
                switch node.value {
                case .array(let elements):
                    for element in elements { add(element, of: type, to: &collected, atMost: most, &reader) }
                case .string(let text) where text.hasPrefix("file:"):
                    add(node, of: type, to: &collected, atMost: most, &reader)
                default:
                    reader.report(
                        "expected a list of which each is \(type.expectation), or \"file:NAME\", found \(node.found)",
                        at: node.position)
                    return nil
                }
                guard let collected else { return nil }
                // Another daemon's list may be in a file that is not opened here, and seem short.
                let least = reader.opensFiles ? least : 0
                guard (least...most).contains(collected.count) else {
                    let bound = collected.count < least ? "at least \(least)" : "at most \(most)"
                    reader.report("expected \(bound) values, found \(collected.count)", at: node.position)
                    return nil
                }
                return collected
            },
            write: { values in "[" + values.map { tomlString(type.write($0)) }.joined(separator: ", ") + "]" })
    }

    /// Adds the value of one node, or all values of the file that it names. `list` becomes nil once one is wrong; the
    /// others are read all the same, so that every problem is told.
    private static func add<Element>(
        _ node: TomlNode, of type: TextType<Element>, to list: inout [Element]?, atMost most: Int,
        _ reader: inout ValueReader
    ) {
        guard case .string(let text) = node.value else {
            reader.report("expected \(type.expectation), found \(node.found)", at: node.position)
            list = nil
            return
        }
        guard text.hasPrefix("file:") else {
            do throws(Unfit) {
                let value = try type.parse(text)
                list?.append(value)
            } catch {
                reader.report(error.text, at: node.position)
                list = nil
            }
            return
        }
        guard reader.opensFiles else { return }
        let path = reader.path(String(text.dropFirst("file:".count)))
        let octets: [UInt8]
        do throws(FileError) {
            octets = try FileReading.octets(path, cap: maxListOctets)
        } catch {
            reader.report("expected a readable file \(printable(path)), found \(error.found)", at: node.position)
            list = nil
            return
        }
        for (line, column, text) in lines(of: octets) {
            guard (list?.count ?? 0) <= most else { return }  // one more than may be: reported by the caller
            do throws(Unfit) {
                guard let text else { throw Unfit("expected UTF-8, found other octets") }
                let value = try type.parse(text)
                list?.append(value)
            } catch {
                reader.report(error.text, inFile: path, line: line, column: column, anchor: node.position)
                list = nil
            }
        }
    }

    /// The lines that hold something, with their places; nil for one that is no UTF-8.
    private static func lines(of octets: [UInt8]) -> [(line: Int, column: Int, text: String?)] {
        var found: [(line: Int, column: Int, text: String?)] = []
        for (index, line) in octets.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let content = withoutComment(line).trimmingFoldingWhiteSpace
            guard !content.isEmpty else { continue }
            found.append(
                (index + 1, content.startIndex - line.startIndex + 1, String(validating: content, as: UTF8.self)))
        }
        return found
    }

    private static func withoutComment(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var before: UInt8 = 0x20
        for (index, octet) in zip(line.indices, line) {
            if octet == 0x23, before.isFoldingWhiteSpace { return line[..<index] }
            before = octet
        }
        return line
    }
}
