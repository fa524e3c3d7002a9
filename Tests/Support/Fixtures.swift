// Public conformance data, read from Tests/Fixtures of the source tree.

public import Foundation

public enum Fixtures {
    /// The folder Tests/Fixtures.
    public static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures")

    /// The octets of a file below Tests/Fixtures.
    public static func octets(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: folder.appending(path: path)))
    }

    /// A JSON file below Tests/Fixtures.
    public static func json<Value: Decodable>(_ path: String, as type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(contentsOf: folder.appending(path: path)))
    }
}
