// U-labels and A-labels (RFC 5890 §2.3.2.1) by Punycode (RFC 3492). Lower-casing is Unicode's; mapping, bidi and
// code point tables of IDNA2008 are deliberately not here: a label that breaks them is a name that nobody registered.

enum IDNA {
    /// The A-label of a label with octets over 0x7F.
    /// - Throws: `.badULabel` when the octets are no UTF-8, are not in their normal form, or the A-label would be over
    ///   63 octets.
    static func aLabel(of label: [UInt8]) throws(DomainNameError) -> [UInt8] {
        guard let text = String(validating: label, as: UTF8.self) else { throw .badULabel }
        let scalars = text.lowercased().unicodeScalars
        guard !scalars.contains(where: { $0.value < 0x21 || $0.value == 0x7F || $0.value == 0x2E }) else {
            throw .badOctet
        }
        // Source: RFC 5892 §2.2, "Unstable": a U-label is what remains of case folding and NFKC. Others are mapped by
        // some readers (UTS 46) to another name, and name nothing here. Exceptions: RFC 5892 §2.6, §2.8.
        // The ideographic full stop is stable, and separates labels in some input methods (RFC 3490 §3.1).
        guard
            scalars.allSatisfy({
                $0.value != 0x3002
                    && (!$0.properties.changesWhenNFKCCaseFolded || [0xDF, 0x3C2, 0x200C, 0x200D].contains($0.value))
            })
        else { throw .badULabel }
        guard let encoded = Punycode.encode(scalars.map(\.value)) else { throw .badULabel }
        return Array("xn--".utf8) + encoded
    }

    /// The Unicode form of one label: an A-label decoded and anything else as it is, lower-cased. For comparing what a
    /// reader might show as equal, never for looking up.
    static func unicodeForm(of label: some Collection<UInt8>) -> String {
        let lower = String(decoding: label, as: UTF8.self).lowercased()
        guard lower.hasPrefix("xn--"), let scalars = Punycode.decode(Array(lower.utf8.dropFirst(4))) else {
            return lower
        }
        var text = ""
        for value in scalars {
            guard let scalar = Unicode.Scalar(value) else { return lower }
            text.unicodeScalars.append(scalar)
        }
        return text.lowercased()
    }
}

/// Punycode's two directions. Source: RFC 3492 §6.
enum Punycode {
    private static let base: UInt32 = 36, tMin: UInt32 = 1, tMax: UInt32 = 26, skew: UInt32 = 38, damp: UInt32 = 700

    /// - Parameter scalars: at most 63 code points are encoded; more cannot be a label.
    static func encode(_ scalars: [UInt32]) -> [UInt8]? {
        guard scalars.count <= DomainName.maxLabelOctets else { return nil }
        var output = scalars.filter { $0 < 0x80 }.map { UInt8(truncatingIfNeeded: $0) }
        let basic = UInt32(output.count)
        if basic > 0 { output.append(0x2D) }
        var n: UInt32 = 0x80
        var delta: UInt32 = 0
        var bias: UInt32 = 72
        var handled = basic
        while handled < UInt32(scalars.count) {
            guard let next = scalars.lazy.filter({ $0 >= n }).min() else { return nil }
            let (step, overflow) = (next - n).multipliedReportingOverflow(by: handled + 1)
            let (sum, overflow2) = delta.addingReportingOverflow(step)
            guard !overflow, !overflow2 else { return nil }
            delta = sum
            n = next
            for scalar in scalars {
                if scalar < n { delta &+= 1 }
                guard scalar == n else { continue }
                var q = delta
                var k = base
                while true {
                    let t = threshold(k, bias)
                    if q < t { break }
                    output.append(digit(t + (q - t) % (base - t)))
                    q = (q - t) / (base - t)
                    k += base
                }
                output.append(digit(q))
                bias = adapt(delta, points: handled + 1, first: handled == basic)
                delta = 0
                handled += 1
            }
            delta &+= 1
            n &+= 1
        }
        return output.count + 4 <= DomainName.maxLabelOctets ? output : nil
    }

    static func decode(_ input: [UInt8]) -> [UInt32]? {
        guard input.count <= DomainName.maxLabelOctets else { return nil }
        let delimiter = input.lastIndex(of: 0x2D)
        var output = input.prefix(upTo: delimiter ?? 0).map(UInt32.init)
        var rest = input.suffix(from: delimiter.map { $0 + 1 } ?? 0)
        var n: UInt32 = 0x80
        var i: UInt32 = 0
        var bias: UInt32 = 72
        while !rest.isEmpty {
            let old = i
            var weight: UInt32 = 1
            var k = base
            while true {
                guard let octet = rest.popFirst(), let value = value(of: octet) else { return nil }
                let (product, overflow) = value.multipliedReportingOverflow(by: weight)
                let (sum, overflow2) = i.addingReportingOverflow(product)
                guard !overflow, !overflow2 else { return nil }
                i = sum
                let t = threshold(k, bias)
                if value < t { break }
                let (heavier, overflow3) = weight.multipliedReportingOverflow(by: base - t)
                guard !overflow3 else { return nil }
                weight = heavier
                k += base
            }
            let points = UInt32(output.count) + 1
            bias = adapt(i - old, points: points, first: old == 0)
            let (sum, overflow) = n.addingReportingOverflow(i / points)
            guard !overflow, sum >= 0x80 else { return nil }
            n = sum
            i %= points
            output.insert(n, at: Int(i))
            i += 1
        }
        return output
    }

    private static func threshold(_ k: UInt32, _ bias: UInt32) -> UInt32 {
        k <= bias ? tMin : (k >= bias + tMax ? tMax : k - bias)
    }
    private static func adapt(_ delta: UInt32, points: UInt32, first: Bool) -> UInt32 {
        var delta = first ? delta / damp : delta / 2
        delta += delta / points
        var k: UInt32 = 0
        while delta > (base - tMin) * tMax / 2 {
            delta /= base - tMin
            k += base
        }
        return k + (base - tMin + 1) * delta / (delta + skew)
    }
    private static func digit(_ value: UInt32) -> UInt8 {
        UInt8(truncatingIfNeeded: value < 26 ? value + 0x61 : value - 26 + 0x30)
    }
    private static func value(of octet: UInt8) -> UInt32? {
        switch octet {
        case 0x30...0x39: UInt32(octet) - 0x30 + 26
        case 0x61...0x7A: UInt32(octet) - 0x61
        case 0x41...0x5A: UInt32(octet) - 0x41
        default: nil
        }
    }
}
