// Fuzz targets for libFuzzer: octets in, a parser run, its promises held against what came out. One program has them
// all; POSTERN_FUZZ_TARGET names the one to run, `all` lets the first octet choose. contrib/fuzz builds and runs it.
// The package declares this target only when POSTERN_FUZZ is set, since libFuzzer brings a main of its own.
// Source: llvm.org/docs/LibFuzzer.html.

import Glibc

/// A parser under test. What it finds wrong it tells by `require`; a trap or a sanitizer's report ends it as well.
typealias FuzzTarget = @Sendable (inout FuzzInput) -> Void

/// All targets, by the names that contrib/fuzz takes. The order is that of `all`'s first octet: append only.
private let targets: [(name: String, run: FuzzTarget)] = [
    ("dkim", fuzzDKIM), ("keys", fuzzKeys), ("body", fuzzBody), ("authres", fuzzAuthenticationResults),
    ("author", fuzzAuthor), ("message", fuzzMessageText), ("names", fuzzNames), ("dns", fuzzDNS), ("zone", fuzzZone),
    ("config", fuzzConfiguration), ("pem", fuzzPEM), ("milter", fuzzMilterValues), ("log", fuzzLog),
    ("spf", fuzzSPF), ("spfjudge", fuzzSPFJudge), ("dmarc", fuzzDMARC), ("dmarcjudge", fuzzDMARCJudge),
    ("psl", fuzzPSL),
    ("policy", fuzzPolicy), ("cache", fuzzCache), ("snapshot", fuzzSnapshot),
    ("expression", fuzzExpression), ("rules", fuzzRules), ("explain", fuzzExplain),
    ("maillog", fuzzMailLog),
    ("records", fuzzRecords), ("archive", fuzzArchive), ("storereply", fuzzStoreReply),
]

/// The target to run; `nil` for `all`.
private let chosen: FuzzTarget? = {
    let name = getenv("POSTERN_FUZZ_TARGET").map { String(cString: $0) } ?? "all"
    if name == "all" { return nil }
    let found = targets.first { $0.name == name }
    require(found != nil, "POSTERN_FUZZ_TARGET=\(name); known: \(targets.map(\.name).joined(separator: " ")) all")
    return found?.run
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(Array(UnsafeBufferPointer(start: start, count: count)))
    if let chosen {
        chosen(&input)
    } else {
        targets[Int(input.octet()) % targets.count].run(&input)
    }
    return 0
}

/// The fuzzer's octets, taken from the front.
struct FuzzInput {
    private(set) var rest: ArraySlice<UInt8>

    init(_ octets: [UInt8]) { rest = octets[...] }

    /// The next octet; 0 when there is none.
    mutating func octet() -> UInt8 { rest.popFirst() ?? 0 }

    /// The octets up to the next NUL, which is dropped.
    mutating func piece() -> [UInt8] {
        let piece = rest.prefix { $0 != 0 }
        rest = rest.dropFirst(piece.count + 1)
        return Array(piece)
    }

    /// All octets that are left.
    mutating func remainder() -> [UInt8] {
        defer { rest = [] }
        return Array(rest)
    }
}

/// Says what was promised and not kept, and ends the process: libFuzzer keeps the input.
func require(_ isKept: Bool, _ promise: @autoclosure () -> String) {
    guard !isKept else { return }
    let line = Array("BROKEN: \(promise())\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }  // the process ends either way
    abort()
}

/// A value that the program itself spells right.
func certain<Value>(_ what: String, _ make: () throws -> Value) -> Value {
    do { return try make() } catch {
        require(false, "\(what): \(error)")
        abort()
    }
}

/// Octets for a message about them.
func shown(_ octets: some Sequence<UInt8>) -> String {
    octets.map { octet in
        octet >= 0x20 && octet < 0x7F ? String(UnicodeScalar(octet)) : "\\x" + String(octet, radix: 16)
    }.joined()
}

extension String {
    /// Whether it is one line of printable ASCII.
    var isOnePlainLine: Bool { utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } }
}

/// Calls `body` with pieces of `octets`; their sizes follow from `seed`.
func inPieces(_ octets: [UInt8], seed: UInt8, _ body: (Span<UInt8>) -> Void) {
    var start = 0
    var state = UInt32(seed)
    while start < octets.count {
        state = state &* 1_664_525 &+ 1_013_904_223  // Source: Numerical Recipes, 2nd ed., §7.1
        // Mostly a few octets, now and then many.
        let size = state >> 31 == 0 ? Int(state >> 16 & 7) + 1 : Int(state >> 16 & 0x3FFF) + 1
        let end = min(octets.count, start + size)
        let piece = Array(octets[start..<end])
        body(piece.span)
        start = end
    }
}
