import com.pixelmed.validate.DicomSRValidator;
import java.util.Arrays;

/** Runs PixelMed's validator over many SR documents: its own program takes one, and needs seconds to start. */
public class JudgeReports {
    public static void main(String[] paths) {
        ThreadLocal<DicomSRValidator> validators = ThreadLocal.withInitial(JudgeReports::make);
        Arrays.stream(paths).parallel().forEach(path -> judge(validators.get(), path));
    }

    private static DicomSRValidator make() {
        try {
            return new DicomSRValidator();
        } catch (Exception failure) {
            throw new IllegalStateException(failure);
        }
    }

    private static void judge(DicomSRValidator validator, String path) {
        try {
            String said = validator.validate(path);
            synchronized (System.out) {
                System.out.println("FILE " + path);
                System.out.println(said);
            }
        } catch (Exception failure) {
            throw new IllegalStateException(path, failure);
        }
    }
}
